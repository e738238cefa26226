"""Functions on numbers, with the meaning of cel-go's ext.Math. Rounding an int gives it back; bits are those of int64."""

from __future__ import annotations

import math

_MASK = 2**64 - 1


def sign(value: int | float) -> int | float:
    """-1, 0 or 1, an int of an int and a double of a double."""
    return type(value)((value > 0) - (value < 0))


def ceil(value: int | float) -> int | float:
    """The next whole number up."""
    return float(math.ceil(value)) if _fractional(value) else value


def floor(value: int | float) -> int | float:
    """The next whole number down."""
    return float(math.floor(value)) if _fractional(value) else value


def trunc(value: int | float) -> int | float:
    """The whole number towards zero."""
    return float(math.trunc(value)) if _fractional(value) else value


def round_half_away(value: int | float) -> int | float:
    """The nearest whole number; halves go away from zero."""
    if not _fractional(value):
        return value
    return math.copysign(math.floor(abs(value)) + (abs(value) % 1 >= 0.5), value)


def _fractional(value: int | float) -> bool:
    return type(value) is float and math.isfinite(value)


def sqrt(value: int | float) -> float:
    """The square root, NaN of a negative number."""
    return math.sqrt(value) if value >= 0 else math.nan


def _signed(bits: int) -> int:
    bits &= _MASK
    return bits - 2**64 if bits >= 2**63 else bits


def bit_not(value: int) -> int:
    """Every bit the other way."""
    return ~value


def shift_left(value: int, count: int) -> int:
    """``value`` with its bits moved up; those that leave int64 are lost."""
    return _signed(value << _count(count)) if count < 64 else 0


def shift_right(value: int, count: int) -> int:
    """``value`` with its bits moved down; zeros come in, for negative numbers too."""
    return _signed((value & _MASK) >> _count(count)) if count < 64 else 0


def _count(count: int) -> int:
    if count < 0:
        raise ValueError("the shift must not be negative")
    return count
