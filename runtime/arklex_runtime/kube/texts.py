"""Texts as a status or an event holds them: bounded by the bytes they take as JSON, whatever they say."""

from __future__ import annotations

import re
import shlex

import orjson

from arklex_api.base import JSON

_REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]{0,125}[A-Za-z0-9_])?")
_WORDS = re.compile(r"[^A-Za-z0-9]+")


def cut(text: str, limit: int) -> str:
    """``text``, cut with ``…`` so that its JSON takes at most ``limit`` bytes (≥ 8) without the quotes."""
    if len(text) * 6 <= limit or (len(text) <= limit and _bytes(text) <= limit):
        return text
    low, high = 0, min(len(text), limit)
    while low < high:
        middle = (low + high + 1) // 2
        if _bytes(text[:middle]) <= limit - 3:
            low = middle
        else:
            high = middle - 1
    return text[:low] + "…"


def _bytes(text: str) -> int:
    return len(orjson.dumps(text)) - 2


def excerpt(value: JSON, limit: int) -> str:
    """The beginning of ``value`` as compact JSON, cut to ``limit`` bytes."""
    return cut(orjson.dumps(value).decode(), limit)


def reason_of(text: str, otherwise: str = "Failed") -> str:
    """``text`` as a condition's reason: itself if it is one, its words in CamelCase, or ``otherwise``."""
    if _REASON.fullmatch(text):
        return text
    camel = "".join(word[:1].upper() + word[1:] for word in _WORDS.split(text))[:126]
    return camel if _REASON.fullmatch(camel) else otherwise


def command(*words: str) -> str:
    """An ``arklex`` command line, quoted for a shell."""
    return shlex.join(("arklex", *words))


def error_text(error: dict[str, JSON] | None) -> str:
    """``type: message`` of an error; a type that says nothing is left out."""
    if not error:
        return ""
    kind, message = str(error.get("type") or "Failed"), str(error.get("message") or "")
    return message if kind == "Failed" and message else f"{kind}: {message}" if message else kind
