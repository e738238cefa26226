"""Every valid change that the schema gives, made and taken back (T11 of reliability.md, after Acto).

Sixty changes of TaskGraphs and Workers here, chosen by a seed; with ARKLEX_FAULTS=nightly all there are.
"""

from __future__ import annotations

import copy
import random
import time
from collections import Counter
from functools import partial
from typing import Any

import pytest

from arklex_operator.manifests.kinds import Kind
from tests.apiserver.api import Api
from tests.apiserver.operators import operator
from tests.apiserver.test_bounds import CASES, FULL, Case, changed
from tests.apiserver.workers import CHILDREN, IMAGES, Space, until
from tests.controlplane import ControlPlane
from tests.faults.checker import Tally
from tests.faults.report import keep
from tests.faults.sizes import NIGHTLY

pytestmark = pytest.mark.apiserver

SEED = 11
KINDS = ("TaskGraph", "Worker")
VALID = [case for case in CASES if case.good and case.node.kind in KINDS and case.node.steps[0] == "spec"]
CHOSEN = VALID if NIGHTLY else random.Random(SEED).sample(VALID, min(60, len(VALID)))


def acceptable(manifest: dict[str, Any]) -> dict[str, Any]:
    """The object without its status; a Worker without the port at which a container of its own would have to answer."""
    whole = copy.deepcopy(manifest)
    whole.pop("status")
    if whole["kind"] == "Worker" and isinstance(whole["spec"].get("config"), dict):
        whole["spec"]["config"].pop("port", None)
    return whole


class Transitions:
    """The full objects, each changed by replacing it."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def put(self, manifest: dict[str, Any]) -> int:
        """Create or replace an object; the code of the answer."""
        api, namespace, whole = self._space.api, self._space.namespace, acceptable(manifest)
        if api.call("GET", api.path(namespace, whole["kind"], "full")).code == 404:
            return api.create(namespace, whole).code
        whole["metadata"]["resourceVersion"] = api.get(namespace, whole["kind"], "full")["metadata"]["resourceVersion"]
        return api.put(namespace, whole).code

    def state(self, kind: str) -> list[Any]:
        """What the operator says of an object as it is, and what it has made of it; times and versions aside."""

        def look() -> dict[str, Any] | None:
            found = self._space.api.get(self._space.namespace, kind, "full")
            status: dict[str, Any] = found.get("status") or {}
            return status if status.get("observedGeneration") == found["metadata"]["generation"] else None

        status = dict(until(look, f"{kind} is judged", self._space.process))
        conditions = [
            {key: value for key, value in each.items() if key not in ("lastTransitionTime", "observedGeneration")}
            for each in status.pop("conditions")
        ]
        status.pop("observedGeneration")
        made = [] if kind == "TaskGraph" else [self._child(each) for each in CHILDREN]
        return [status, conditions, made]

    def rest(self, kind: str) -> list[Any]:
        """The state once it has not changed for three seconds."""
        last, since = self.state(kind), time.monotonic()
        while time.monotonic() - since < 3:
            time.sleep(0.1)
            if (now := self.state(kind)) != last:
                last, since = now, time.monotonic()
        return last

    def stands_at(self, kind: str, state: list[Any]) -> bool:
        """Whether this is the state."""
        return self.state(kind) == state

    def _child(self, kind: Kind) -> Any:
        found = self._space.get(kind, "full-worker")
        return found and [found["metadata"].get(key) for key in ("labels", "annotations")] + [found.get("spec")]


def test_every_change_that_the_schema_gives_is_taken_back_without_a_trace(
    control_plane: ControlPlane, api: Api, namespace: str
) -> None:
    assert len(CHOSEN) >= 50
    settings = {"ARKLEX_NAMESPACES": namespace, "ARKLEX_IMAGES": IMAGES}
    with operator(control_plane.kubeconfig, **settings) as process:
        found = Transitions(Space(api, namespace, process))
        bases = {kind: FULL[kind] for kind in KINDS}
        assert [found.put(base) for base in bases.values()] == [201, 201]
        begin = {kind: found.rest(kind) for kind in KINDS}
        assert None not in begin["Worker"][2], begin
        for case in CHOSEN:
            kind = case.node.kind
            assert found.put(changed(case.node, case.value)) == 200, described(case)
            found.state(kind)
            assert found.put(bases[kind]) == 200
            until(partial(found.stands_at, kind, begin[kind]), f"{described(case)} leaves nothing", process)
        assert process.process.poll() is None
        log = process.log_file.read_text()
        assert "Traceback" not in log and "a reconcile failed" not in log
    keep("T11", Tally(Counter(f"{case.node.kind} {case.node.field}" for case in CHOSEN)))


def described(case: Case) -> str:
    return f"{case.node.kind} {case.node.field} {case.what}"
