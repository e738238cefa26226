"""CEL's tokens (https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax), in one regular expression."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from arklex_api.expressions.errors import SyntaxProblem

Kind = Literal["ident", "int", "uint", "double", "string", "bytes", "op", "end"]

_ESCAPE = r"\\(?:[abfnrtv\\?\"'`]|x[0-9a-fA-F]{2}|X[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2})"
_TEXTS = "|".join(
    (
        r'"""(?:E|[^\\])*?"""',
        r"'''(?:E|[^\\])*?'''",
        r'"(?:E|[^\\"\r\n])*"',
        r"'(?:E|[^\\'\r\n])*'",
    )
).replace("E", _ESCAPE)
_RAW_TEXTS = r'"""(?:.|\n)*?"""|' + r"'''(?:.|\n)*?'''|" + r'"[^"\r\n]*"|' + r"'[^'\r\n]*'"

_TOKEN = re.compile(
    rf"""
    (?P<space>[\ \t\r\n\f]+|//[^\n]*)
  | (?P<bytes>[bB][rR](?:{_RAW_TEXTS})|[bB](?:{_TEXTS}))
  | (?P<string>[rR](?:{_RAW_TEXTS})|(?:{_TEXTS}))
  | (?P<double>(?:[0-9]+\.[0-9]+|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)
  | (?P<uint>(?:0x[0-9a-fA-F]+|[0-9]+)[uU])
  | (?P<int>0x[0-9a-fA-F]+|[0-9]+)
  | (?P<ident>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<op>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{{}}])
    """,
    re.VERBOSE,
)
_MEANINGS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPES = re.compile(_ESCAPE)


@dataclass(frozen=True, slots=True)
class Token:
    """One token: ``text`` as written, from ``start`` to ``end`` (characters)."""

    kind: Kind
    text: str
    start: int
    end: int


def read_token(text: str, at: int) -> tuple[Token | None, int]:
    """The token at ``at`` (None for blanks and comments) and where the next one starts; SyntaxProblem if there is none."""
    match = _TOKEN.match(text, at)
    if match is None:
        if text[at] in "\"'":
            raise SyntaxProblem("unterminated string, or an escape that CEL does not know", at)
        raise SyntaxProblem(f"unexpected character {text[at]!r}", at)
    end = match.end()
    kind = match.lastgroup
    if kind == "space":
        return None, end
    return Token(_kind(kind), match.group(), at, end), end


def _kind(name: str | None) -> Kind:
    match name:
        case "ident" | "int" | "uint" | "double" | "string" | "bytes":
            return name
    return "op"


def tokenize(text: str) -> list[Token]:
    """All tokens of one expression, with an ``end`` token last. Raises SyntaxProblem."""
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        token, at = read_token(text, at)
        if token is not None:
            tokens.append(token)
    tokens.append(Token("end", "", len(text), len(text)))
    return tokens


def string_value(text: str) -> str:
    """The value of a string literal as written, quotes, prefix and escapes included."""
    raw = text[0] in "rR"
    body = text[1:] if raw else text
    quotes = 3 if body[:3] in ('"""', "'''") and len(body) >= 6 else 1
    body = body[quotes:-quotes]
    return body if raw else _ESCAPES.sub(lambda match: _unescape(match.group()), body)


def _unescape(escape: str) -> str:
    letter = escape[1]
    if letter in "xXuU":
        return _character(int(escape[2:], 16))
    if letter in "0123":
        return chr(int(escape[1:], 8))
    return _MEANINGS.get(letter, letter)


def _character(code: int) -> str:
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise SyntaxProblem(f"\\u{code:04x} is not a character")
    return chr(code)
