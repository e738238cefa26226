"""The merge of session state: shallow, null deletes, ``{"$increment": n}`` adds to the old value."""

from __future__ import annotations

from arklex_api.base import JSON

INCREMENT = "$increment"


class SessionError(ValueError):
    """A patch that does not fit the session."""


def merge(session: dict[str, JSON], patch: dict[str, JSON]) -> dict[str, JSON]:
    """A new session: ``session`` with ``patch`` merged in. Raises SessionError for an increment of what is no number."""
    merged = dict(session)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and value.keys() == {INCREMENT}:
            merged[key] = _sum(key, merged.get(key, 0), value[INCREMENT])
        else:
            merged[key] = value
    return merged


def _sum(key: str, old: JSON, by: JSON) -> JSON:
    for number in (old, by):
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise SessionError(f"session.{key}: $increment needs numbers, not {type(number).__name__}")
    return old + by
