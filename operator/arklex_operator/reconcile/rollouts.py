"""How many Workers roll at once when it is the operator, not their authors, that changes their pods."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Key = tuple[str, str]


class Rollouts:
    """Counts rollouts under way: at most a ``share`` of all Workers, at least one.

    A rollout that this process began counts until its pods are ready, however long that takes: an image that does not start
    stops the others from getting it. After a restart those that are seen under way count.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._begun: set[Key] = set()
        self._under_way: set[Key] = set()
        self._waiting: dict[Key, None] = {}

    def observe(self, key: Key, deployment: Mapping[str, Any] | None) -> Key | None:
        """Take note of how far a Worker's Deployment is; None: it is gone. Returns whose turn it is if one has ended."""
        before = len(self._counted)
        if deployment is not None and rolling(deployment):
            if stuck(deployment):
                self._under_way.discard(key)
            else:
                self._under_way.add(key)
        else:
            self._begun.discard(key)
            self._under_way.discard(key)
        if deployment is None:
            self._waiting.pop(key, None)
        following = next(iter(self._waiting), None) if len(self._counted) < before else None
        if following is not None:
            del self._waiting[following]
        return following

    def begin(self, key: Key, total: int) -> bool:
        """Whether another rollout may begin among ``total`` Workers; if so it counts from now on, else it has to wait."""
        if len(self._counted - {key}) >= max(1, math.floor(total * self._share)):
            self._waiting.setdefault(key)
            return False
        self._waiting.pop(key, None)
        self._begun.add(key)
        return True

    @property
    def _counted(self) -> set[Key]:
        return self._begun | self._under_way


def rolling(deployment: Mapping[str, Any]) -> bool:
    """Whether pods of an older template are still there, or new ones are not ready."""
    spec, status = deployment.get("spec") or {}, deployment.get("status") or {}
    wanted = spec.get("replicas", 1)
    if (status.get("observedGeneration") or 0) < (deployment["metadata"].get("generation") or 0):
        return True
    updated, ready = status.get("updatedReplicas") or 0, status.get("readyReplicas") or 0
    return updated < wanted or (status.get("replicas") or 0) > updated or ready < min(updated, wanted)


def stuck(deployment: Mapping[str, Any]) -> bool:
    """Whether the Deployment's own deadline for progress has passed."""
    conditions = (deployment.get("status") or {}).get("conditions") or ()
    return any(each.get("reason") == "ProgressDeadlineExceeded" for each in conditions)
