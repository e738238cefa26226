"""The merge of session state: shallow, null deletes, ``{"$increment": n}`` adds to the old value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from arklex_api.base import JSON

INCREMENT = "$increment"
INT64_MAX = 2**63 - 1


class SessionError(ValueError):
    """A patch that does not fit the session."""


def merge(session: Mapping[str, Any], patch: Mapping[str, Any], *, forgiving: bool = False) -> dict[str, JSON]:
    """A new session: ``session`` with ``patch`` merged in (semantics.md, saveState).

    Raises SessionError for an increment of what is no number, or past int64. ``forgiving`` is for the database, which must
    not fail a commit over what another run has left there: no number counts as 0, and a sum stays at the limit.
    """
    merged = dict(session)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and value.keys() == {INCREMENT}:
            merged[key] = _sum(key, merged.get(key, 0), value[INCREMENT], forgiving)
        else:
            merged[key] = value
    return merged


def _sum(key: str, old: JSON, by: JSON, forgiving: bool) -> JSON:
    total = _number(key, old, forgiving) + _number(key, by, forgiving)
    if isinstance(total, int) and not -INT64_MAX - 1 <= total <= INT64_MAX:
        if not forgiving:
            raise SessionError(f"session.{key}: $increment goes past the integers of 64 bits")
        return INT64_MAX if total > 0 else -INT64_MAX - 1
    if not math.isfinite(total):
        if not forgiving:
            raise SessionError(f"session.{key}: $increment goes past the finite numbers")
        return old
    return total


def _number(key: str, value: JSON, forgiving: bool) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if not forgiving:
        raise SessionError(f"session.{key}: $increment needs numbers, not {type(value).__name__}")
    return 0
