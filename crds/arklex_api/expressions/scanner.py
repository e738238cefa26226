"""Finds the ``${…}`` in a string; the end of one is the brace that CEL's own strings and braces leave open."""

from __future__ import annotations

from dataclasses import dataclass

from arklex_api.expressions.errors import SyntaxProblem
from arklex_api.expressions.tokens import read_token


@dataclass(frozen=True, slots=True)
class Source:
    """The text of one expression, without ``${`` and ``}``; ``offset`` is where it starts in the string."""

    text: str
    offset: int


def split(text: str) -> list[str | Source]:
    """The literal pieces and expressions of ``text`` in order; no literal piece is empty, and ``$${`` is a literal ``${``.

    Raises SyntaxProblem (its position counts from the start of ``text``) for an expression that does not end.
    """
    pieces: list[str | Source] = []
    literal: list[str] = []
    at = 0
    while True:
        mark = text.find("${", at)
        if mark < 0:
            literal.append(text[at:])
            break
        if mark > at and text[mark - 1] == "$":
            literal.append(text[at : mark - 1] + "${")
            at = mark + 2
            continue
        literal.append(text[at:mark])
        _flush(literal, pieces)
        end = _end(text, mark + 2)
        pieces.append(Source(text[mark + 2 : end], mark + 2))
        at = end + 1
    _flush(literal, pieces)
    return pieces


def _flush(literal: list[str], pieces: list[str | Source]) -> None:
    joined = "".join(literal)
    literal.clear()
    if joined:
        pieces.append(joined)


def _end(text: str, start: int) -> int:
    """Where the ``}`` is that closes an expression starting at ``start``."""
    depth = 0
    at = start
    while at < len(text):
        token, at = read_token(text, at)
        if token is None or token.kind != "op":
            continue
        if token.text == "{":
            depth += 1
        elif token.text == "}":
            if depth == 0:
                return token.start
            depth -= 1
    raise SyntaxProblem("'${' without its '}'; write '$${' for a literal '${'", start - 2)
