"""Go durations (``time.ParseDuration``): ``500ms``, ``1h30m``; positive, no days."""

from __future__ import annotations

import re
from functools import lru_cache

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
DURATION_PATTERN = r"^(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h))+$"
_WHOLE = re.compile(DURATION_PATTERN)
_LONGEST = 100 * 365 * 86400.0


@lru_cache(maxsize=4096)
def seconds(text: str) -> float:
    """``text`` in seconds.

    Raises ValueError, with the fix, for anything that Go would refuse, for zero and for more than a hundred years.
    """
    if not isinstance(text, str) or not _WHOLE.match(text):
        raise ValueError(f"{text!r} is not a duration: write it like 500ms, 30s or 1h30m")
    total = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if not 0 < total <= _LONGEST:
        raise ValueError(f"duration {text!r} must be positive and at most a hundred years")
    return total


def check_duration(text: str) -> str:
    """``text`` itself if it is a duration; raises ValueError otherwise."""
    seconds(text)
    return text
