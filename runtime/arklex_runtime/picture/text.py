"""How wide a text will be, and how to shorten one: an estimate from the metrics of common sans-serif fonts."""

from __future__ import annotations

import unicodedata

_NARROW = frozenset("fijlrtI.,:;|!'()[]{}-/ ")
_WIDE = frozenset("mwMWGOQ@%…—")
ELLIPSIS = "…"


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """The width of ``text`` in pixels at ``size`` pixels; errs on the wide side."""
    ems = sum(_ems(character) for character in text)
    return ems * size * (1.07 if bold else 1.0)


def _ems(character: str) -> float:
    if character in _NARROW:
        return 0.38
    if character in _WIDE:
        return 0.92
    if unicodedata.east_asian_width(character) in "WF":
        return 1.05
    return 0.70 if character.isupper() else 0.6


def shorten(text: str, room: float, size: float, *, bold: bool = False) -> str:
    """``text``, or its head and tail around an ellipsis so that it fits in ``room`` pixels."""
    if text_width(text, size, bold=bold) <= room:
        return text
    keep = len(text) - 1
    while keep > 1:
        head = (keep * 2 + 2) // 3
        candidate = text[:head] + ELLIPSIS + (text[-(keep - head) :] if keep > head else "")
        if text_width(candidate, size, bold=bold) <= room:
            return candidate
        keep -= 1
    return ELLIPSIS


def human_seconds(value: float) -> str:
    """A duration for people: ``12 ms``, ``3.4 s``, ``2 m 05 s``, ``1 h 02 m``."""
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} m"
