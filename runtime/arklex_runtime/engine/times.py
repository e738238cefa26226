"""Times as documents show them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

_MILLIS = [f".{millis:03d}Z" for millis in range(1000)]


@lru_cache(maxsize=4096)
def rfc3339(at: float) -> str:
    """``at``, in epoch seconds, as RFC 3339 UTC with milliseconds, cut."""
    second, millis = divmod(int(at * 1000), 1000)
    return _to_the_second(second) + _MILLIS[millis]


@lru_cache(maxsize=256)
def _to_the_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def rfc3339_or_none(at: float | None) -> str | None:
    """``rfc3339`` of a time that may not have come yet."""
    return None if at is None else rfc3339(at)
