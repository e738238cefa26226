"""A namespace, and operators that one after the other work on it through a proxy."""

from __future__ import annotations

import contextlib
import json
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from tests.apiserver.api import Api, manifest
from tests.apiserver.forked import Forked
from tests.apiserver.operators import Operator
from tests.apiserver.proxy import Proxy, proxy
from tests.controlplane import ControlPlane

MERGE = "application/merge-patch+json"
AT_ONCE = 4
"""Lives that go on beside each other: each waits most of its time."""

PATIENCE = 240.0
QUIET = 1.0
"""Seconds for which an end must hold."""

T = TypeVar("T")
R = TypeVar("R")


class Life:
    """Two parts, ``begin`` and ``go_on``. ``count`` is how many operators there were: one that ended is followed."""

    def __init__(self, plane: ControlPlane, found: Proxy, kubeconfig: Path, folder: Path) -> None:
        self.api = Api(plane.kubeconfig)
        self.proxy, self.namespace = found, self.api.namespace()
        self._kubeconfig, self._log = kubeconfig, folder / "log"
        self.operator: Operator | None = None
        self.count = 0

    def start(self) -> Operator:
        """Begin another operator."""
        self.count += 1
        settings = {"ARKLEX_NAMESPACES": self.namespace, "ARKLEX_LEADER_SECONDS": "300"}
        self.operator = Operator(self._kubeconfig, self._log, settings, Forked)
        return self.operator

    def kill(self) -> None:
        """End the operator at once."""
        if self.operator is not None:
            self.operator.stop(signal.SIGKILL)

    def put(self, name: str, **spec: Any) -> None:
        """Apply a TaskGraph as a person."""
        path = self.api.path(self.namespace, "TaskGraph", name) + "?fieldManager=person&force=true"
        assert self.api.call("PATCH", path, manifest("TaskGraph", name, spec), "application/apply-patch+yaml").code < 300

    def begin(self) -> None:
        """A graph that runs a sub-graph and forgets what succeeded, one that is wrong."""
        self.put("sub", tasks=[{"name": "b", "value": 1}], run={"query": "sub"})
        self.put("top", tasks=[{"name": "a", "graph": "sub"}], run={"query": "1"}, history={"succeeded": 0})
        self.put("wrong", tasks=[{"name": "c", "worker": "nobody"}], run={"query": "never"})

    def go_on(self) -> None:
        """The runs succeed; a new version of the first graph."""
        for run in self.items("TaskGraphRun"):
            path = self.api.path(self.namespace, "TaskGraphRun", run["metadata"]["name"], "status")
            status = {"phase": "Succeeded", "completionTime": "2026-01-01T00:00:00Z"}
            assert self.api.call("PATCH", path, {"status": status}, MERGE).code == 200
        self.put("top", tasks=[{"name": "a", "graph": "sub"}], run={"query": "2"}, history={"succeeded": 0})

    def items(self, kind: str) -> list[dict[str, Any]]:
        """All of a kind; a server that has just begun may have to be asked again."""
        deadline = time.monotonic() + PATIENCE
        while (answer := self.api.call("GET", self.api.path(self.namespace, kind))).code != 200:
            assert answer.code == 429 and time.monotonic() < deadline, answer
            time.sleep(0.2)
        return list(answer.body["items"])

    def state(self) -> str:
        """All there is, without what differs from life to life: UIDs, times, versions."""
        graphs, runs = self.items("TaskGraph"), self.items("TaskGraphRun")
        uids = {each["metadata"]["uid"]: each["metadata"]["name"] for each in graphs}
        found: list[Any] = []
        for each in (*graphs, *runs):
            metadata = each["metadata"]
            kept = {key: metadata.get(key) for key in ("name", "labels", "annotations", "ownerReferences", "finalizers")}
            for condition in each.get("status", {}).get("conditions", []):
                condition.pop("lastTransitionTime")
            found.append({"kind": each["kind"], "metadata": kept, "spec": each["spec"], "status": each.get("status")})
        text = json.dumps(sorted(found, key=lambda one: str(one["metadata"]["name"]).split("-")), sort_keys=True)
        for uid, name in uids.items():
            text = text.replace(uid, f"UID-{name}").replace(f"{name}-{uid[:8]}-", f"{name}-UID8-")
        return text

    def judged(self) -> bool:
        """Whether every graph is judged as it is."""
        graphs = self.items("TaskGraph")
        return all(each.get("status", {}).get("observedGeneration") == each["metadata"]["generation"] for each in graphs)

    def until(self, done: Callable[[], bool], what: str) -> None:
        """Wait, with as many operators as it takes."""
        deadline = time.monotonic() + PATIENCE
        while not done():
            log = self._log.read_text()[-4000:] if self._log.exists() else ""
            assert time.monotonic() < deadline, f"{what}\nis {self.state()}\n{log}"
            if self.operator is None or self.operator.process.poll() is not None:
                self.start()
            time.sleep(0.05)

    def reach(self, goal: str) -> None:
        """Wait until the state is this one, and stays so while an operator lives."""
        since: float | None = None

        def holds() -> bool:
            nonlocal since
            lives = self.operator is not None and self.operator.process.poll() is None
            since = (since or time.monotonic()) if lives and self.state() == goal else None
            return since is not None and time.monotonic() - since > QUIET

        self.until(holds, f"it does not become {goal}")

    def settle(self) -> str:
        """Wait until every graph is judged and nothing changes for two seconds; the state then."""
        last, since = "", time.monotonic()

        def quiet() -> bool:
            nonlocal last, since
            now = self.state()
            if now != last or not self.judged():
                last, since = now, time.monotonic()
            return time.monotonic() - since > 2

        self.until(quiet, "it does not settle")
        return last


@contextlib.contextmanager
def life(plane: ControlPlane) -> Iterator[Life]:
    """One, with a proxy of its own."""
    with tempfile.TemporaryDirectory(prefix="arklex-life-") as name, proxy(plane.kubeconfig, Path(name)) as (found, kubeconfig):
        made = Life(plane, found, kubeconfig, Path(name))
        try:
            yield made
        finally:
            made.kill()
            made.api.close()


def undisturbed(plane: ControlPlane) -> tuple[list[str], list[str]]:
    """The states at the end of both parts of a life without faults, and its writes to our kinds."""
    with life(plane) as found:
        found.begin()
        first = found.settle()
        found.go_on()
        second = found.settle()
        assert found.count == 1
        return [first, second], list(found.proxy.log)


def side_by_side(work: Callable[[T], R], of: Sequence[T]) -> list[R]:
    """Do ``work``, AT_ONCE at a time. Raises what one of them raises."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, of))
