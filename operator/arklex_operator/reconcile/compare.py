"""Whether an object of the cluster already is what would be applied, so that a steady state writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arklex_operator.load import quantity
from arklex_operator.manifests.kinds import Object
from arklex_operator.manifests.merge import MERGE_KEYS
from arklex_operator.manifests.names import DIGEST

_QUANTITIES = frozenset({"resources", "requests", "limits", "emptyDir", "target", "scaleUp", "scaleDown"})


def holds(applied: Object, live: Mapping[str, Any] | None) -> bool:
    """Whether ``live`` has everything that ``applied`` says, and nothing that an earlier version of it said.

    The first by comparison, field by field; the second by the digest, which is an annotation of both.
    """
    if live is None or _digest(applied) != _digest(live):
        return False
    return all(_within(applied[key], live.get(key), key) for key in applied if key not in ("apiVersion", "kind"))


def within(part: Any, whole: Any) -> bool:
    """Whether ``whole`` has everything that ``part`` says."""
    return _within(part, whole, "")


def _digest(value: Mapping[str, Any]) -> str | None:
    digest: str | None = (value["metadata"].get("annotations") or {}).get(DIGEST)
    return digest


def _within(part: Any, whole: Any, field: str, amounts: bool = False) -> bool:
    amounts = amounts or field in _QUANTITIES
    if isinstance(part, Mapping):
        if not part:
            return not whole
        return isinstance(whole, Mapping) and all(_within(part[key], whole.get(key), key, amounts) for key in part)
    if isinstance(part, list):
        return _list_within(part, whole, field, amounts)
    if part == whole and type(part) is type(whole):
        return True
    return amounts and _amount(part) is not None and _amount(part) == _amount(whole)


def _list_within(part: list[Any], whole: Any, field: str, amounts: bool) -> bool:
    if not part:
        return not whole
    if not isinstance(whole, list):
        return False
    by = MERGE_KEYS.get(field)
    if by is not None and all(isinstance(item, Mapping) and item.get(by) is not None for item in part):
        found = {str(item.get(by)): item for item in whole if isinstance(item, Mapping)}
        return all(_within(item, found.get(str(item[by])), "", amounts) for item in part)
    return len(part) == len(whole) and all(_within(*pair, "", amounts) for pair in zip(part, whole, strict=True))


def _amount(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return quantity.parse(str(value))
    except ValueError:
        return None
