"""Functions on strings, with the meaning of cel-go's ext.Strings and ext.Encoders. Positions count code points.

All raise ExpressionError, or ValueError for a position or text they do not take.
"""

from __future__ import annotations

import base64
import string
from typing import Any

from arklex_api.expressions.budget import check_length
from arklex_api.expressions.errors import ExpressionError
from arklex_api.expressions.lists import check_items
from arklex_api.expressions.values import article, kind

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_UPPER = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)
_QUOTED = str.maketrans(
    {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\v": "\\v"}
)
_BOOLS = dict.fromkeys(("1", "t", "true", "TRUE", "True"), True) | dict.fromkeys(("0", "f", "false", "FALSE", "False"), False)


def _inside(name: str, text: str, position: int) -> None:
    if not 0 <= position <= len(text):
        raise ValueError(f"{name} {position} is out of range: the text has {len(text)} characters")


def char_at(text: str, index: int) -> str:
    """The character at ``index``; nothing at the very end."""
    _inside("index", text, index)
    return text[index : index + 1]


def index_of(text: str, part: str, start: int = 0) -> int:
    """Where ``part`` first begins, at ``start`` or after; -1 if nowhere."""
    _inside("position", text, start)
    return text.find(part, start)


def last_index_of(text: str, part: str, start: int | None = None) -> int:
    """Where ``part`` last begins, at ``start`` or before; -1 if nowhere."""
    if start is None:
        return text.rfind(part)
    _inside("position", text, start)
    return text.rfind(part, 0, start + len(part))


def substring(text: str, start: int, end: int | None = None) -> str:
    """The characters from ``start`` to ``end``, which is not included."""
    stop = len(text) if end is None else end
    _inside("end", text, stop)
    if not 0 <= start <= stop:
        raise ValueError(f"start {start} is not between 0 and the end, {stop}")
    return text[start:stop]


def replace(text: str, old: str, new: str, limit: int = -1) -> str:
    """``text`` with ``new`` for ``old``, at most ``limit`` times; a negative limit is none."""
    count = text.count(old)
    if limit >= 0:
        count = min(count, limit)
    check_length(len(text) + count * (len(new) - len(old)))
    return text.replace(old, new, limit)


def split(text: str, separator: str, limit: int = -1) -> list[str]:
    """The pieces of ``text``, at most ``limit``; its characters if there is no separator."""
    check_items(len(text) if separator == "" else text.count(separator) + 1)
    if limit == 0:
        return []
    if separator:
        return text.split(separator, limit - 1 if limit > 0 else -1)
    if 0 < limit < len(text):
        return [*text[: limit - 1], text[limit - 1 :]]
    return list(text)


def join(items: list[Any], separator: str = "") -> str:
    """The strings of a list, one after the other."""
    for at, item in enumerate(items):
        if type(item) is not str:
            raise ExpressionError(f"join(): item {at} is {article(kind(item))}; make it a string with map(x, string(x))")
    check_length(sum(map(len, items)) + len(separator) * len(items))
    return separator.join(items)


def lower_ascii(text: str) -> str:
    """``text`` with a-z for A-Z."""
    return text.translate(_LOWER)


def upper_ascii(text: str) -> str:
    """``text`` with A-Z for a-z."""
    return text.translate(_UPPER)


def quote(text: str) -> str:
    """``text`` as a string literal of CEL."""
    return f'"{text.translate(_QUOTED)}"'


def to_bool(value: Any) -> bool:
    """CEL's ``bool(value)``, of bools and of the words for them."""
    if type(value) is bool:
        return value
    if type(value) is str and value in _BOOLS:
        return _BOOLS[value]
    raise ValueError(f"{article(kind(value))} that is not true or false")


def encode(data: bytes | str) -> str:
    """Base64 of bytes, or of a string's UTF-8."""
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode("ascii")


def decode(text: str) -> bytes:
    """The bytes of base64; other characters are refused."""
    return base64.b64decode(text, validate=True)
