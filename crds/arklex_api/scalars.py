"""Plain YAML scalars as kubectl reads them (go-yaml v2's resolver) and as the API server then stores them."""

from __future__ import annotations

import math
import re
from decimal import Decimal

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

_FIXED: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_NOT_FINITE = frozenset(sign + word for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")) | {".nan", ".NaN", ".NAN"}
_NUMBER_START = frozenset("+-.0123456789")
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_BASES = (16, 2, 8, 10)
_LONGEST = 4000
_EXACT = 2**53


class ScalarError(ValueError):
    """A scalar that no manifest may hold; str() says why and what to write instead, not the scalar: it may be a secret."""


def resolve(text: str) -> str | int | float | bool | None:
    """The value of the plain scalar ``text``.

    An integral float is an int, as the API server makes it; timestamps and ``1:30`` stay strings.
    Raises ScalarError for NaN, infinities, numbers too large for a double and integers outside int64.
    """
    if text in _FIXED:
        return _FIXED[text]
    if text[0] not in _NUMBER_START:
        return text
    if text in _NOT_FINITE:
        raise ScalarError(f"{text} is not a finite number: quote it if it is text")
    return _number(text)


def _number(text: str) -> str | int | float:
    plain = text.replace("_", "")
    integer = _INTEGER.match(plain)
    if integer is None:
        return integral(_double(plain)) if _FLOAT.match(plain) else text
    groups = integer.groups()
    digits, base = next((g, b) for g, b in zip(groups[1:], _BASES, strict=True) if g is not None)
    value = int(groups[0] + digits, base) if len(digits) <= _LONGEST else INT64_MAX + 1
    if not INT64_MIN <= value <= INT64_MAX:
        raise ScalarError("an integer outside int64: quote it, or write it with an exponent (1e20)")
    return value


def _double(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ScalarError("a number too large for a double: quote it if it is text")
    return value


def integral(value: float) -> int | float:
    """``value`` as an int if it has no fraction and fits int64, by the shortest decimal that Go would print."""
    if not value.is_integer():
        return value
    whole = int(value) if abs(value) <= _EXACT else int(Decimal(repr(value)))
    return whole if INT64_MIN <= whole <= INT64_MAX else value
