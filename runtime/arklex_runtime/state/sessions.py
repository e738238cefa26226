"""How a patch meets a session: shallow, null deletes, ``{"$increment": n}`` adds. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

INT64_MAX = 2**63 - 1


def merge(data: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``data`` with ``patch`` merged shallowly into it; neither argument is changed (semantics.md, saveState)."""
    merged = dict(data)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and value.keys() == {"$increment"}:
            merged[key] = _add(merged.get(key), value["$increment"])
        else:
            merged[key] = value
    return merged


def _add(old: Any, step: Any) -> Any:
    """Add two JSON numbers; what is not a number counts as 0, and a sum that JSON or int64 cannot hold stays at the limit."""
    total = _number(old) + _number(step)
    if isinstance(total, int):
        return max(-INT64_MAX - 1, min(INT64_MAX, total))
    return total if math.isfinite(total) else old


def _number(value: Any) -> int | float:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0
