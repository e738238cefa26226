"""Handlers of examples/docs-qa: files to sections, sections by their relevance (Okapi BM25), sentences by theirs."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arklex_runtime.errors import TaskError
from arklex_runtime.workers.base import TaskContext

K1, B = 1.2, 0.75
"""BM25's usual parameters (Robertson and Zaragoza 2009)."""
LONGEST = 1200
"""Characters of a section that are handed on: a small model reads no more."""
_WORD = re.compile(r"[a-z0-9]+")
_STOP = frozenset(
    _WORD.findall(
        "a an and are as at be by do does for from has have how i if in is it its mean means of on or that the there they this "
        "to was what when where which who whose why will with you your"
    )
)


def handle(inputs: dict[str, Any], context: TaskContext) -> dict[str, Any]:
    """``list``, ``read``, ``rank`` or ``extract``, as the action says."""
    actions = {"list": list_files, "read": read_file, "rank": rank, "extract": extract}
    return actions[context.action or "list"](inputs)


def list_files(inputs: dict[str, Any]) -> dict[str, Any]:
    """``{files: [{path, name}]}``: the Markdown files of ``folder`` and below."""
    folder = Path(inputs["folder"])
    if not folder.is_dir():
        raise TaskError("InvalidInput", f"{folder} is not a folder")
    names = sorted(path.relative_to(folder) for path in folder.rglob("*.md"))
    shown = [
        name for name in names if not any(part.startswith(".") for part in name.parts)
    ]  # a mounted ConfigMap has hidden ones
    return {"files": [{"path": str(folder / name), "name": str(name)} for name in shown]}


def read_file(inputs: dict[str, Any]) -> dict[str, Any]:
    """``{file, sections: [{title, text}]}`` of one file."""
    text = Path(inputs["path"]).read_text(encoding="utf-8")
    return {"file": inputs["name"], "sections": list(_sections(text))}


def _sections(text: str) -> Iterator[dict[str, str]]:
    """Parts between headings; long ones cut between lines."""
    title, fenced = "", False
    lines: list[str] = []
    for line in [*text.splitlines(), "# "]:
        fenced ^= line.startswith("```")
        heading = re.match(r"#+ (.*)", line) if not fenced else None
        if heading or sum(len(each) for each in lines) + len(line) > LONGEST:
            body = "\n".join(lines).strip()
            if body:
                yield {"title": title, "text": body[:LONGEST]}
            lines = []
        if heading:
            title = heading[1].strip()
        else:
            lines.append(line)


def rank(inputs: dict[str, Any]) -> dict[str, Any]:
    """``{sections: [{file, title, text, score}]}``: the ``keep`` most relevant sections that share a word with the question."""
    found = [
        {"file": document["file"], **section}
        for document in inputs["documents"]
        if document is not None
        for section in document["sections"]
    ]
    counts = [Counter(words(f"{section['title']} {section['title']} {section['text']}")) for section in found]
    scores = bm25(words(inputs["question"]), counts)
    best = sorted(zip(scores, range(len(found)), strict=True), key=lambda pair: (-pair[0], pair[1]))[: inputs["keep"]]
    return {"sections": [{**found[place], "score": round(score, 3)} for score, place in best if score > 0]}


def extract(inputs: dict[str, Any]) -> dict[str, Any]:
    """``{text}``: the two sentences of ``text`` that share most with the question."""
    sentences = [part.strip() for part in re.split(r"(?<=[.!?;])\s+|\n", inputs["text"]) if part.strip()]
    scores = bm25(words(inputs["question"]), [Counter(words(sentence)) for sentence in sentences])
    best = sorted(range(len(sentences)), key=lambda place: -scores[place])[:2]
    return {"text": " ".join(sentences[place] for place in sorted(best))}


def words(text: str) -> list[str]:
    """Words in lower case, without the commonest and without a plural's s."""
    found = _WORD.findall(text.lower())
    return [word.removesuffix("s") if len(word) > 3 else word for word in found if word not in _STOP]


def bm25(question: list[str], documents: list[Counter[str]]) -> list[float]:
    """The relevance of each document, a bag of words, to ``question``."""
    sizes = [sum(document.values()) for document in documents]
    usual = sum(sizes) / max(len(sizes), 1) or 1.0
    total = len(documents)
    scores = [0.0] * total
    for word in dict.fromkeys(question):
        having = sum(word in document for document in documents)
        weight = math.log(1 + (total - having + 0.5) / (having + 0.5))
        for place, document in enumerate(documents):
            often = document[word]
            scores[place] += weight * often * (K1 + 1) / (often + K1 * (1 - B + B * sizes[place] / usual))
    return scores
