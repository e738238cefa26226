"""Times as documents show them."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(at: float) -> str:
    """``at``, in epoch seconds, as RFC 3339 UTC with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rfc3339_or_none(at: float | None) -> str | None:
    """``rfc3339`` of a time that may not have come yet."""
    return None if at is None else rfc3339(at)
