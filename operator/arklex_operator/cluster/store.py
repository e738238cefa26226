"""What watches have shown of the cluster: the newest known state of each object that matters, by kind.

Objects are kept without ``managedFields``; a kind may keep less (``trim``). What our own writes return goes in as well, so that
a reconcile that follows a write does not act on what was there before it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from arklex_operator.manifests.kinds import Kind, Object

Key = tuple[str, str]
"""Namespace and name."""

Trim = Callable[[Mapping[str, Any]], Object]


def key_of(value: Mapping[str, Any]) -> Key:
    """Namespace ("" if it has none) and name of an object."""
    metadata = value["metadata"]
    return sys.intern(metadata.get("namespace") or ""), metadata["name"]


def without_managers(value: Mapping[str, Any]) -> Object:
    """An object without ``metadata.managedFields``, which is half of it and says nothing to a reconcile."""
    metadata = {key: each for key, each in value["metadata"].items() if key != "managedFields"}
    return {**value, "metadata": metadata}


class Shelf:
    """The objects of one kind, by namespace and name."""

    def __init__(self, kind: Kind, trim: Trim = without_managers) -> None:
        self.kind = kind
        self._trim = trim
        self._objects: dict[str, dict[str, Object]] = {}

    def put(self, value: Mapping[str, Any]) -> bool:
        """Keep ``value``, unless a newer state of the same object is known; whether it was news."""
        namespace, name = key_of(value)
        known = self._objects.setdefault(namespace, {}).get(name)
        if known is not None and known["metadata"].get("uid") == value["metadata"].get("uid"):
            old, new = version_of(known), version_of(value)
            if new < old or (new == old and new > 0):
                return False
        self._objects[namespace][name] = self._trim(value)
        return True

    def has(self, value: Mapping[str, Any]) -> bool:
        """Whether this very state of an object is what is known."""
        known = self.get(*key_of(value))
        return known is not None and all(
            known["metadata"].get(field) == value["metadata"].get(field) for field in ("uid", "resourceVersion")
        )

    def remove(self, namespace: str, name: str, uid: str | None = None) -> bool:
        """Forget an object (if it still has this ``uid``); whether it was known."""
        objects = self._objects.get(namespace, {})
        known = objects.get(name)
        if known is None or (uid is not None and known["metadata"].get("uid") != uid):
            return False
        del objects[name]
        if not objects:
            del self._objects[namespace]
        return True

    def get(self, namespace: str, name: str) -> Object | None:
        """The object as it was last seen; None if there is none. Do not change it."""
        return self._objects.get(namespace, {}).get(name)

    def within(self, namespace: str) -> Iterator[Object]:
        """All objects of a namespace."""
        yield from list(self._objects.get(namespace, {}).values())

    def __iter__(self) -> Iterator[Object]:
        for objects in list(self._objects.values()):
            yield from list(objects.values())

    def __len__(self) -> int:
        return sum(len(objects) for objects in self._objects.values())

    def namespaces(self) -> list[str]:
        """Namespaces with at least one object."""
        return list(self._objects)


def version_of(value: Mapping[str, Any]) -> int:
    """The resourceVersion as a number (Kubernetes promises since 1.35 that they compare); 0 where it is none."""
    text = value["metadata"].get("resourceVersion") or ""
    return int(text) if text.isascii() and text.isdigit() else 0
