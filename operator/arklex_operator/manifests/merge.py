"""Lays an overlay over a pod template as ``kubectl patch`` (strategic merge) would: maps, and some lists by a key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MERGE_KEYS: Mapping[str, str] = {
    "containers": "name",
    "env": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ports": "containerPort",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
"""Lists of a pod template that are merged item by item, and by what; every other list is replaced."""

_RETAINED = frozenset({"volumes"})
"""Lists whose items keep only one source: naming another drops the one that was there."""


def merge(base: Any, overlay: Any) -> Any:
    """``overlay`` over ``base``, neither changed. A null removes what is there. Items come in the order of ``base``."""
    if not isinstance(base, Mapping) or not isinstance(overlay, Mapping):
        return _without_nulls(overlay)
    merged = dict(base)
    for key, value in overlay.items():
        if value is None:
            merged.pop(key, None)
        elif key in MERGE_KEYS and isinstance(value, list) and isinstance(base.get(key), list):
            merged[key] = _merge_list(key, base[key], value)
        elif key in base:
            merged[key] = merge(base[key], value)
        else:
            merged[key] = _without_nulls(value)
    return merged


def _merge_list(field: str, base: list[Any], overlay: list[Any]) -> list[Any]:
    by, merged = MERGE_KEYS[field], list(base)
    places = {key: index for index, item in enumerate(merged) if (key := _key(item, by)) is not None}
    for item in overlay:
        key = _key(item, by)
        place = None if key is None else places.get(key)
        if place is None:
            if key is not None:
                places[key] = len(merged)
            merged.append(_without_nulls(item))
        elif field in _RETAINED and set(item) - set(merged[place]):
            merged[place] = _without_nulls(item)
        else:
            merged[place] = merge(merged[place], item)
    return merged


def _key(item: Any, by: str) -> str | int | None:
    key = item.get(by) if isinstance(item, Mapping) else None
    return key if isinstance(key, str | int) else None


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
