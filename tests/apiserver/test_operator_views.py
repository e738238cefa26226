"""An operator that sees what was, or only the last of what happened (T9 and T10 of reliability.md, after Sieve).

Twenty sequences of each.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from tests.apiserver.api import Api, manifest
from tests.apiserver.lives import Life, life, side_by_side, undisturbed
from tests.apiserver.meddling import Gate
from tests.controlplane import ControlPlane
from tests.faults.checker import Tally
from tests.faults.report import keep
from tests.faults.sizes import NIGHTLY

pytestmark = pytest.mark.apiserver

SEED = 910
SEQUENCES = 20 * (5 if NIGHTLY else 1)
KINDS = ("TaskGraph", "TaskGraphRun", "Worker")


@pytest.fixture(scope="module")
def goals(control_plane: ControlPlane) -> list[str]:
    return undisturbed(control_plane)[0]


@pytest.mark.parametrize("batch", range(0, SEQUENCES, 10))
def test_a_new_operator_that_sees_what_was_repeats_nothing(control_plane: ControlPlane, goals: list[str], batch: int) -> None:
    """What was is from before the first operator, or after a write of its, chosen by a seed; runs have ended and gone since."""

    def sequence(seed: int) -> int:
        with life(control_plane) as found:
            gate = found.proxy.meddler = Gate()
            past: dict[str, bytes] = {}

            def remember() -> None:
                with_own = Api(control_plane.kubeconfig)
                past.update(
                    {path: with_own.raw("GET", path) for path in (with_own.path(found.namespace, kind) for kind in KINDS)}
                )
                with_own.close()

            found.proxy.at, found.proxy.fault = random.Random(SEED + seed).randint(1, 11) if seed % 5 else 0, remember
            found.begin()
            if found.proxy.at == 0:
                remember()
            found.reach(goals[0])
            found.go_on()
            found.reach(goals[1])
            found.kill()
            gate.closed, gate.lists = True, past
            found.start()
            found.until(lambda: gate.shown_stale >= 2 * len(KINDS), "the past was not looked at")
            found.reach(goals[1])
            gate.closed, gate.lists = False, {}
            found.reach(goals[1])
            return found.count

    assert min(side_by_side(sequence, range(batch, batch + 10))) >= 2
    keep("T9", Tally(Counter({"shown the past": 10})), str(batch))


def changes(found: Life, name: str, chance: random.Random) -> None:
    """Some versions of a graph, the last one right or wrong; it may be another object than at first."""
    for _ in range(chance.randint(2, 5)):
        what = chance.choice(["edit", "break", "run", "again", "worker"])
        if what == "again":
            found.api.call("DELETE", found.api.path(found.namespace, "TaskGraph", name))
        if what == "worker" and found.api.call("DELETE", found.api.path(found.namespace, "Worker", f"{name}-w")).code == 404:
            worker = manifest("Worker", f"{name}-w", {"type": "custom", "config": {"handler": "m:f"}})
            assert found.api.create(found.namespace, worker).code == 201
        does: dict[str, Any] = {"break": {"worker": "nobody"}, "worker": {"worker": f"{name}-w"}}.get(what, {"value": 1})
        run = {"run": {"query": str(chance.randint(1, 3))}} if what in ("run", "again", "worker") else {}
        found.put(name, tasks=[{"name": "a", **does}], maxParallel=chance.randint(1, 9), **run)


def test_an_operator_that_sees_only_the_last_of_what_happened_ends_where_a_new_one_does(control_plane: ControlPlane) -> None:
    with life(control_plane) as found:
        gate = found.proxy.meddler = Gate(skips=True)
        chance = random.Random(SEED)
        found.start().until_ready()
        for number in range(SEQUENCES):
            gate.closed = True
            changes(found, f"g{number}", chance)
            changes(found, f"g{chance.randint(0, number)}", chance)
            gate.closed = False
            found.until(found.judged, "not every graph is judged")
        ended = found.settle()
        assert (found.count, gate.skipped > SEQUENCES) == (1, True)
        found.kill()
        found.start().until_ready()
        found.reach(ended)
        keep("T10", Tally(Counter({"shown only the last change": gate.skipped})))
