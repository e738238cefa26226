"""The operator killed at its n-th write, before or after it: the end is that of a life without death (T8 of reliability.md).

Four deaths here, all 22 with ARKLEX_FAULTS=nightly.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.apiserver.api import Api, manifest
from tests.apiserver.operators import PATIENCE, Operator, operator
from tests.apiserver.proxy import Proxy, proxy
from tests.controlplane import ControlPlane

pytestmark = pytest.mark.apiserver

NIGHTLY = os.environ.get("ARKLEX_FAULTS") == "nightly"
WRITES = 11
"""Writes to our kinds in a life without death, at the least."""

DEATHS = [(n, before) for n in range(1, WRITES + 1) for before in (True, False)]
CHOSEN = DEATHS if NIGHTLY else [(1, False), (4, True), (6, False), (10, True)]
MERGE = "application/merge-patch+json"


@pytest.fixture
def way(control_plane: ControlPlane, tmp_path: Path) -> Iterator[tuple[Proxy, Path]]:
    with proxy(control_plane.kubeconfig, tmp_path) as found:
        yield found


class Life:
    """A namespace, and operators that one after the other work on it through a proxy."""

    def __init__(self, api: Api, kubeconfig: Path) -> None:
        self.api, self.kubeconfig, self.namespace = api, kubeconfig, api.namespace()

    def operator(self) -> Any:
        return operator(self.kubeconfig, ARKLEX_NAMESPACES=self.namespace)

    def put(self, name: str, **spec: Any) -> None:
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

    def settled(self, process: Operator) -> bool:
        """Wait until every graph is judged and nothing changes any more; whether the operator lives."""
        deadline, since, last = time.monotonic() + PATIENCE, time.monotonic(), ""
        while time.monotonic() < deadline:
            if process.process.poll() is not None:
                return False
            now = self.state()
            judged = all(
                each.get("status", {}).get("observedGeneration") == each["metadata"]["generation"]
                for each in self.items("TaskGraph")
            )
            if now != last or not judged:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > 2:
                return True
            time.sleep(0.1)
        raise AssertionError(f"it does not settle: {last}")

    def live(self, faulty: Proxy | None = None) -> int:
        """Both parts to their end, with as many operators as it takes; how many there were."""
        lives, steps = 0, [self.go_on]
        self.begin()
        while True:
            lives += 1
            with self.operator() as process:
                if faulty is not None:
                    faulty.fault = partial(process.stop, signal.SIGKILL)
                while self.settled(process):
                    if not steps:
                        return lives
                    steps.pop(0)()


def _judged(graph: dict[str, Any]) -> bool:
    return bool(graph.get("status", {}).get("observedGeneration") == graph["metadata"]["generation"])


@pytest.fixture(scope="module")
def undisturbed(api: Api, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the state at the end of a life without death."""
    with proxy(control_plane.kubeconfig, tmp_path_factory.mktemp("undisturbed")) as (counter, kubeconfig):
        life = Life(api, kubeconfig)
        assert life.live() == 1
        assert len(counter.log) >= WRITES, counter.log
        assert len({line.partition(" ")[0] for line in counter.log}) == 3
    return life.state()


def test_a_life_without_death_ends_as_it_should(undisturbed: str) -> None:
    found = json.loads(undisturbed)
    runs = [each["metadata"]["name"].rsplit("-", 1)[0] for each in found if each["kind"] == "TaskGraphRun"]
    assert runs == ["sub-UID8", "top-UID8"]
    assert [each["status"]["conditions"][0]["reason"] for each in found if each["kind"] == "TaskGraph"] == [
        "Valid", "Valid", "UnknownWorker",
    ]  # fmt: skip


@pytest.mark.parametrize(("n", "before"), CHOSEN)
def test_an_operator_killed_at_a_write_leaves_nothing_else(
    api: Api, way: tuple[Proxy, Path], undisturbed: str, n: int, before: bool
) -> None:
    found, kubeconfig = way
    found.at, found.before = n, before
    life = Life(api, kubeconfig)
    assert life.live(found) == 2
    assert life.state() == undisturbed
