"""The templates of an HTTP tool over ``input``: values go into a URL encoded for the place where they stand."""

from __future__ import annotations

import json
import re
from enum import Enum
from typing import Any
from urllib.parse import quote, unquote

from yarl import URL

from arklex_api.base import JSON
from arklex_api.expressions import ExpressionError, Template, compile_expression, compile_template
from arklex_api.expressions.scanner import Source, split
from arklex_runtime.errors import TaskError

ROOTS = frozenset({"input"})
"""What a tool's expressions may read: the input of the call."""

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_BASE = re.compile(r"https?://[^/?#@\s]+([/?#]|$)", re.IGNORECASE)
_LITERAL = "%/:?#[]@!$&'()*+,;=~-._"


class Place(Enum):
    """Where in a URL an expression stands."""

    BASE = "base"
    HOST = "host"
    PATH = "path"
    QUERY = "query"


class UrlTemplate:
    """A URL with ``${…}``: values in the path and the query are percent-encoded whole, ``/`` and ``&`` too.

    A value at the very start must be an http(s) URL and is taken as it is; one within the host may hold only letters,
    digits, dots and dashes.
    """

    def __init__(self, text: str, path: str) -> None:
        """``path`` is the field's, for messages. Raises TemplateError."""
        compile_template(text, path=path, roots=ROOTS)
        self._pieces: list[str | tuple[Place, Template]] = []
        seen = ""
        for piece in split(text):
            if isinstance(piece, Source):
                place = _place(seen)
                self._pieces.append((place, compile_expression(f"${{{piece.text}}}", path=path, roots=ROOTS)))
                seen += "http://x" if place is Place.BASE else "x"
            else:
                self._pieces.append(quote(piece, safe=_LITERAL))
                seen += piece

    @property
    def host_is_literal(self) -> bool:
        """Whether no input decides where the request goes."""
        return not any(isinstance(piece, tuple) and piece[0] in (Place.BASE, Place.HOST) for piece in self._pieces)

    @property
    def has_credentials(self) -> bool:
        """Whether the URL's text holds ``user:password@``."""
        first = self._pieces[0] if self._pieces else ""
        return isinstance(first, str) and "@" in re.split(r"[/?#]", first.partition("://")[2], maxsplit=1)[0]

    def render(self, scope: dict[str, JSON]) -> URL:
        """The URL for ``scope``. Raises TaskError InvalidInput."""
        parts = [piece if isinstance(piece, str) else _encode(piece[0], evaluate(piece[1], scope)) for piece in self._pieces]
        try:
            url = URL("".join(parts), encoded=True)
        except ValueError as error:
            raise invalid(f"the tool's URL is not valid: {error}") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise invalid("the tool's URL is not http:// or https:// with a host")
        if any(unquote(part) in (".", "..") for part in url.raw_path.split("/")):
            raise invalid("the path of the tool's URL would hold a segment '.' or '..'")
        return url


def evaluate(template: Template, scope: dict[str, JSON]) -> JSON:
    """The template's value. Raises TaskError InvalidInput."""
    try:
        return template.evaluate(scope)
    except ExpressionError as error:
        raise invalid(str(error)) from None


def as_text(value: JSON) -> str:
    """A value as it goes into text: strings as they are, all else as compact JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def header(template: Template, name: str, scope: dict[str, JSON]) -> str:
    """A header's value. Raises TaskError InvalidInput for one that would end the header."""
    value = as_text(evaluate(template, scope))
    if any(ord(char) < 32 and char != "\t" for char in value) or "\x7f" in value:
        raise invalid(f"the value of header {name} holds a control character")
    return value


def invalid(message: str) -> TaskError:
    """A TaskError of type InvalidInput that no retry helps."""
    return TaskError("InvalidInput", message, retryable=False)


def _place(seen: str) -> Place:
    if not seen:
        return Place.BASE
    rest = seen.partition("://")[2]
    if "?" in rest or "#" in rest:
        return Place.QUERY
    return Place.PATH if "/" in rest else Place.HOST


def _encode(place: Place, value: Any) -> str:
    text = as_text(value)
    if place is Place.BASE:
        if not _BASE.match(text):
            raise invalid("the value at the start of the tool's URL is not an http:// or https:// URL")
        return quote(text, safe=_LITERAL)
    if place is Place.HOST:
        if not _HOST.fullmatch(text):
            raise invalid("the value in the host of the tool's URL is not a host name or port")
        return text
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise invalid("a value in the tool's URL is not valid Unicode") from None
