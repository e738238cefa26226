"""Kubernetes quantities (``250m``, ``1.5Gi``, ``12n``), read as its own library reads them."""

from __future__ import annotations

import math
import re
from fractions import Fraction

_QUANTITY = re.compile(r"([+-]?)(\d*)\.?(\d*)(n|u|m|k|M|G|T|P|E|[KMGTPE]i|[eE][+-]?\d+)?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_SUFFIXES = ((0, ""), (3, "m"), (6, "u"), (9, "n"))


def parse(text: str) -> Fraction:
    """The exact value of a quantity, in its unit (cores, bytes, shares). Raises ValueError for anything else."""
    digits, exponent, binary = _split(text)
    return Fraction(digits) * Fraction(10) ** exponent * Fraction(1024) ** binary


def milli(text: str) -> int:
    """A quantity in thousandths, rounded up, as the HPA reads targets and values (``MilliValue``)."""
    return math.ceil(parse(text) * 1000)


def approximate(text: str) -> float:
    """A quantity as the HPA reads tolerances (``AsApproximateFloat64``): its digits times a power of ten, in floats."""
    digits, exponent, binary = _split(text)
    return float(digits * 1024**binary) * float(f"1e{exponent}")


def decimal(value: Fraction) -> str:
    """The canonical text of a value from 0, rounded to nine decimals (half to even): ``600m``, ``1``, ``428571n``."""
    for places, suffix in _SUFFIXES:
        scaled = round(value * 10**9)
        if scaled % 10 ** (9 - places) == 0:
            return f"{scaled // 10 ** (9 - places)}{suffix}"
    raise AssertionError("unreachable: nine decimals always fit")


def _split(text: str) -> tuple[int, int, int]:
    """Digits as one signed integer, the power of ten, the power of 1024."""
    match = _QUANTITY.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        raise ValueError(f"{text!r} is not a quantity: write it like 250m, 1.5 or 512Mi")
    sign, whole, fraction, suffix = match[1], match[2], match[3], match[4] or ""
    digits = int(f"{sign}{whole}{fraction}")
    if suffix in _BINARY:
        return digits, -len(fraction), _BINARY[suffix]
    power = int(suffix[1:]) if suffix[:1] in ("e", "E") and len(suffix) > 1 else _DECIMAL[suffix]
    return digits, power - len(fraction), 0
