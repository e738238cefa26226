"""What one reconcile asks for, in the order in which it is carried out. ``cluster.execute`` carries it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from arklex_operator.manifests.kinds import Kind, Object


@dataclass(frozen=True, slots=True)
class Delete:
    """An object to delete, only as long as it has this ``uid``."""

    kind: Kind
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Scale:
    """A Deployment whose ``spec.replicas`` is to be set, only as long as it has ``version`` (None: whatever it has)."""

    namespace: str
    name: str
    replicas: int
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Say:
    """An event about the object that is reconciled: ``reason`` for machines, ``note`` for people (at most 1,024 bytes)."""

    type: Literal["Normal", "Warning"]
    reason: str
    note: str
    action: str = "Reconcile"


@dataclass(slots=True)
class Plan:
    """First ``creates`` (if the object does not exist), then ``applies``, ``scales``, ``deletes``, ``status``, ``events``.

    ``status`` is all that the operator says of the object's status, or None to leave it as it is. ``requeue_after`` is in
    seconds: when to look again if nothing wakes it before.
    """

    creates: list[Object] = field(default_factory=list)
    applies: list[Object] = field(default_factory=list)
    scales: list[Scale] = field(default_factory=list)
    deletes: list[Delete] = field(default_factory=list)
    status: Object | None = None
    events: list[Say] = field(default_factory=list)
    requeue_after: float | None = None

    @property
    def writes(self) -> int:
        """Objects that it changes, events aside."""
        return len(self.creates) + len(self.applies) + len(self.scales) + len(self.deletes) + (self.status is not None)
