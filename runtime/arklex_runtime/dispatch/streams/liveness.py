"""Which pods live, and which attempts nobody holds any more. Pure; times are the observer's own monotonic seconds.

A pod is dead when its beat has not changed for one lease. An attempt is gone when no living pod has held it for
max(1 s, lease / 3), and every pod that lived when it was first missed has died or has beaten twice since: the first of two
beats may have been written before, the second was not. A pod that has been silent for half a lease holds nothing back but
has to die first. When Redis could not be asked for a while, all of this begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from arklex_runtime.dispatch.streams.wire import Attempt, Heartbeat

BEATS = 2
"""Beats after which a pod that does not name an attempt does not have it."""


@dataclass(slots=True)
class Pod:
    """What is known of one pod: its last beat, when that was first seen, how many changes were seen."""

    beat: int
    at: float
    changes: int = 0
    held: frozenset[Attempt] = frozenset()
    present: bool = True


@dataclass(slots=True)
class Absence:
    """An attempt is missed ``since`` then; ``living`` are the pods of that moment, with their changes."""

    since: float
    era: int
    living: dict[str, int] = field(default_factory=dict)


Verdict = Literal["held", "missing", "gone"]


class Pods:
    """The pods of one Worker, as one observer sees them who looks every ``interval`` seconds."""

    def __init__(self, lease: float) -> None:
        self.lease = lease
        self.patience = max(1.0, lease / 3)
        self.interval = min(1.0, lease / 5)
        self.pods: dict[str, Pod] = {}
        self._era = 0
        self._now: float | None = None
        self._holders: dict[Attempt, list[str]] = {}

    def look(self, now: float, beats: Mapping[str, Heartbeat]) -> None:
        """Take a successful look at the heartbeats; a gap of more than half a lease since the last one starts all anew."""
        if self._now is not None and now - self._now > max(3 * self.interval, self.lease / 2):
            self._era += 1
            for pod in self.pods.values():
                pod.at = now
        self._now = now
        for name, found in beats.items():
            pod = self.pods.setdefault(name, Pod(found.beat, now))
            if pod.beat != found.beat:
                pod.beat, pod.at, pod.changes = found.beat, now, pod.changes + 1
            pod.held = frozenset(found.held)
        for name, pod in self.pods.items():
            pod.present = name in beats
        self._holders = {}
        for name, pod in self.pods.items():
            if self.alive(name):
                for attempt in pod.held:
                    self._holders.setdefault(attempt, []).append(name)

    def forget(self, names: list[str]) -> None:
        """Their heartbeats were removed."""
        for name in names:
            self.pods.pop(name, None)

    def alive(self, name: str) -> bool:
        """Whether the pod has beaten within the last lease."""
        pod = self.pods.get(name)
        return pod is not None and self._silence(pod) < self.lease

    def dead_for(self, seconds: float) -> list[str]:
        """The pods that have been silent for that long."""
        return [name for name, pod in self.pods.items() if self._silence(pod) >= seconds]

    def holder(self, attempt: Attempt) -> str | None:
        """A living pod that names the attempt, as of the last look."""
        return next(iter(self._holders.get(attempt, ())), None)

    def judge(self, attempt: Attempt, absence: Absence | None) -> tuple[Verdict, Absence | None]:
        """As of the last look: held, missing (keep the Absence for the next time), or gone."""
        now = self._now or 0.0
        holders = self._holders.get(attempt, ())
        if any(self._silence(self.pods[name]) < self.lease / 2 for name in holders):
            return "held", None
        if absence is None or absence.era != self._era:
            living = {name: pod.changes for name, pod in self.pods.items() if self.alive(name)}
            return "missing", Absence(now, self._era, living)
        waited = now - absence.since >= self.patience
        if waited and not holders and all(self._cleared(name, count) for name, count in absence.living.items()):
            return "gone", absence
        return "missing", absence

    def _cleared(self, name: str, count: int) -> bool:
        return not self.alive(name) or self.pods[name].changes >= count + BEATS

    def _silence(self, pod: Pod) -> float:
        return (self._now or 0.0) - pod.at
