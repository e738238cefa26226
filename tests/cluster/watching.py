"""What Deployments go through while a test does other things: how many pods are wanted, and which get other images."""

from __future__ import annotations

import contextlib
import subprocess
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


FIELDS = (
    ".metadata.name",
    ".spec.template.spec.containers[0].image",
    ".metadata.generation",
    ".status.observedGeneration",
    ".spec.replicas",
    ".status.replicas",
    ".status.updatedReplicas",
    ".status.readyReplicas",
)


@dataclass
class Rollouts:
    """Which Deployments of a namespace are between two images, by what the API server says, in its order.

    ``rolled`` are the names, once for each change; ``most`` is how many were under way at once.
    """

    space: Kube
    rolled: list[str] = field(default_factory=list)
    most: int = 0
    _images: dict[str, str] = field(default_factory=dict)
    _under_way: set[str] = field(default_factory=set)

    def __enter__(self) -> Rollouts:
        shown = "|".join(f"{{{each}}}" for each in FIELDS) + '{"\\n"}'
        command = [*self.space.command, f"--namespace={self.space.namespace}", "get", "deployments", "--watch"]
        self._process = subprocess.Popen([*command, f"--output=jsonpath={shown}"], stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.poll() is None, "kubectl stopped watching"
        self._process.kill()
        self._process.wait()
        self._thread.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            name, image, *numbers = line.rstrip("\n").split("|")
            if self._images.setdefault(name, image) != image:
                self._images[name] = image
                self._under_way.add(name)
                self.rolled.append(name)
                self.most = max(self.most, len(self._under_way))
            elif _complete(*(int(number or 0) for number in numbers)):
                self._under_way.discard(name)


def _complete(generation: int, observed: int, wanted: int, count: int, updated: int, ready: int) -> bool:
    return observed >= generation and count == updated >= wanted and ready >= wanted
