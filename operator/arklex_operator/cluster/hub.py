"""What controllers share: settings, the API server, and one shelf for each watched kind, whoever hears of its changes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from arklex_operator.cluster.api import Api
from arklex_operator.cluster.events import Events
from arklex_operator.cluster.monitoring import Monitoring
from arklex_operator.cluster.store import Shelf, Trim, key_of, without_managers
from arklex_operator.manifests.kinds import Kind, Object
from arklex_operator.settings import Settings

Changed = Callable[[Object], None]
"""Called with an object that has come, changed or gone, after its shelf was told. It must neither block nor raise."""


GONE = math.inf
"""What a reconcile returns for an object that is gone: nothing but a watch brings it back."""


class Queue(Protocol):
    """The part of a work queue that wakes reconciles."""

    def wake(self, namespace: str, name: str) -> None:
        """Reconcile soon."""

    def later(self, namespace: str, name: str, seconds: float) -> None:
        """Reconcile in ``seconds``, unless something is to wake it before."""


class Reconciler(Protocol):
    """What brings the objects of one kind to what their spec says."""

    kind: str

    async def reconcile(self, namespace: str, name: str) -> float | None:
        """Bring one object there; it may be gone.

        Returns seconds until it must be looked at again, None (the resync will do), or GONE.
        """

    async def failing(self, namespace: str, name: str, error: Exception, failures: int) -> None:
        """Say on the object that its reconcile has failed ``failures`` times in a row."""


@dataclass(slots=True)
class Watch:
    """What to watch of one kind: all objects, or those that ``labels`` (a label selector) selects. ``events`` counts."""

    shelf: Shelf
    labels: str = ""
    changed: list[Changed] = field(default_factory=list)
    events: int = 0

    def take(self, type_: str | None, value: Mapping[str, Any]) -> None:
        """Put one event's object on the shelf, or take it off, and tell of it.

        What a write of ours has put there before (``Hub.seen``) is told of too: the writer knows it, other controllers do not.
        """
        value = {"apiVersion": self.shelf.kind.api_version, "kind": self.shelf.kind.name, **value}
        gone, shelf = type_ == "DELETED", self.shelf
        if shelf.remove(*key_of(value), value["metadata"].get("uid")) if gone else shelf.put(value) or shelf.has(value):
            for changed in self.changed:
                changed(value)


@dataclass(slots=True)
class Hub:
    """Everything that controllers share. ``queues`` and ``tasks`` are run by the operator while it leads."""

    settings: Settings
    api: Api
    events: Events
    monitoring: Monitoring
    watches: dict[Kind, Watch] = field(default_factory=dict)
    reconcilers: list[tuple[Reconciler, int]] = field(default_factory=list)
    trims: dict[Kind, Trim] = field(default_factory=dict)
    queues: dict[str, Queue] = field(default_factory=dict)
    tasks: list[Callable[[], Coroutine[Any, Any, None]]] = field(default_factory=list)
    primed: set[tuple[Kind, str | None]] = field(default_factory=set)
    """What was listed at the start: kopf lists it again when it begins to watch."""

    def watch(self, kind: Kind, changed: Changed | None = None, *, labels: str = "", trim: Trim = without_managers) -> Shelf:
        """Have ``kind`` watched, once for all controllers (the first decides on ``labels`` and ``trim``); its shelf."""
        watch = self.watches.get(kind)
        if watch is None:
            watch = self.watches[kind] = Watch(Shelf(kind, trim), labels)
            self.trims[kind] = trim
        elif trim not in (without_managers, self.trims[kind]):
            raise ValueError(f"another controller decides what is kept of {kind.plural}: set it up after this one")
        if changed is not None:
            watch.changed.append(changed)
        return watch.shelf

    def run(self, reconciler: Reconciler, width: int = 4) -> None:
        """Have ``reconciler`` run by a queue of ``width`` reconciles at a time, and woken through ``wake``."""
        self.reconcilers.append((reconciler, width))

    def wake(self, kind: str, namespace: str, name: str) -> None:
        """Wake the reconcile of an object of a kind that has a reconciler. Does nothing before the queues run."""
        if queue := self.queues.get(kind):
            queue.wake(namespace, name)

    def seen(self, value: Mapping[str, Any]) -> None:
        """Put what a write returned on its shelf, without waking anybody."""
        for kind, watch in self.watches.items():
            if kind.api_version == value.get("apiVersion") and kind.name == value.get("kind"):
                watch.shelf.put(value)

    async def prime(self) -> None:
        """List every watched kind, so that reconciles begin with what there is. Raises ApiError; called again, it goes on.

        Other tasks have their turn after each object: renewing the Lease must not wait for thousands to be read.
        """
        namespaces: Sequence[str | None] = self.settings.namespaces or (None,)
        for kind, watch in self.watches.items():
            for namespace in namespaces:
                if (kind, namespace) in self.primed:
                    continue
                async for value in self.api.list(kind, namespace, labels=watch.labels):
                    watch.take(None, value)
                    await asyncio.sleep(0)
                self.primed.add((kind, namespace))
