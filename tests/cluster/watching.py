"""How many pods a pool is asked to have, written down while a test does other things."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field

from tests.cluster.kube import Kube, KubectlFailed


@dataclass
class Replicas:
    """``changes`` are (monotonic seconds, replicas), one for each change of the Deployment's ``spec.replicas``."""

    space: Kube
    deployment: str
    changes: list[tuple[float, int]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Replicas:
        """The first look is over when this returns."""
        self._look()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            self._look()

    def _look(self) -> None:
        with contextlib.suppress(KubectlFailed):
            found = self.space.get("deployment", self.deployment)
            if found is not None:
                count = found["spec"].get("replicas", 1)
                if not self.changes or self.changes[-1][1] != count:
                    self.changes.append((time.monotonic(), count))

    @property
    def counts(self) -> list[int]:
        """The numbers in their order."""
        return [count for _, count in self.changes]

    def reached(self, count: int) -> bool:
        """Whether that many were ever asked for."""
        return count in self.counts

    def steps(self) -> list[int]:
        """The differences between two in a row."""
        return [b - a for a, b in zip(self.counts, self.counts[1:], strict=False)]

    def pauses(self) -> list[float]:
        """Seconds between two changes."""
        return [b[0] - a[0] for a, b in zip(self.changes, self.changes[1:], strict=False)]
