"""An API server that is away, refuses and cuts: the operator catches up and does not ask all the time (T12)."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest

from tests.apiserver.api import manifest
from tests.apiserver.lives import PATIENCE, Life, life, side_by_side, undisturbed
from tests.apiserver.meddling import BrokenWatch, Faults
from tests.controlplane import ControlPlane, control_plane
from tests.faults.checker import Tally
from tests.faults.report import keep
from tests.faults.sizes import NIGHTLY

pytestmark = pytest.mark.apiserver

SEED = 12
LIVES, EACH = (40, 50) if NIGHTLY else (8, 30)
"""Lives, and how many answers of each are not the API server's, at the most."""
LEAST = 15
"""Of those, in each life."""
STOPS, AWAY = (10, 30) if NIGHTLY else (3, 20)
"""How often the API server is away, for how many seconds."""
KINDS = {"409", "429", "500", "503", "cut", "cut after", "watch cut", "watch 410", "watch 500"}
REQUESTS = 400
"""More than an operator needs to catch up after one stop; one that asks all the time passes it in seconds."""


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """Return an API server of these tests' own: it is stopped."""
    with control_plane() as running:
        yield running


@pytest.fixture(scope="module")
def goals(plane: ControlPlane) -> list[str]:
    return undisturbed(plane)[0]


def test_what_is_refused_and_cut_is_done_in_the_end(plane: ControlPlane, goals: list[str]) -> None:
    def trial(number: int) -> dict[str, int]:
        with life(plane) as found:
            faults = found.proxy.meddler = Faults(random.Random(SEED + number), EACH)
            found.begin()
            found.reach(goals[0])
            found.go_on()
            found.reach(goals[1])
            return faults.landed

    landed = side_by_side(trial, range(LIVES))
    faults = sum(map(Counter, landed), Counter())
    assert faults.total() >= LIVES * EACH // 2 and min(sum(each.values()) for each in landed) >= LEAST, landed
    assert faults.keys() == KINDS
    keep("T12-operator", Tally(faults), "answers")


def test_an_operator_whose_watch_fails_is_followed_by_another(plane: ControlPlane, goals: list[str]) -> None:
    """kopf gives up then; the process must not go on without it."""
    with life(plane) as found:
        broken = found.proxy.meddler = BrokenWatch()
        first = found.start()
        first.until_ready()
        broken.armed.set()
        found.begin()
        deadline, count = time.monotonic() + PATIENCE, 0
        while broken.armed.is_set() and time.monotonic() < deadline:  # what is listed before a watch is open is not told by it
            count += 1
            worker = manifest("Worker", f"w{count}", {"type": "custom", "config": {"handler": "m:f"}})
            assert found.api.create(found.namespace, worker).code == 201
            time.sleep(0.1)
        assert first.process.wait(PATIENCE) == 1, first.log()
        found.reach(goals[0])
        assert not broken.armed.is_set() and found.count == 2


def has_run(found: Life, graph: str) -> bool:
    return any(run["spec"]["graph"] == graph for run in found.items("TaskGraphRun"))


def test_an_api_server_that_stops_again_and_again_is_caught_up_with(plane: ControlPlane, goals: list[str]) -> None:
    with life(plane) as found:
        found.begin()
        found.reach(goals[0])
        for number in range(STOPS):
            before = found.proxy.requests
            plane.stop_apiserver()
            time.sleep(AWAY)
            plane.start_apiserver()
            found.put(f"late{number}", tasks=[{"name": "a", "value": number}], run={"query": "late"})
            found.until(partial(has_run, found, f"late{number}"), "what came after the outage is not run")
            assert found.proxy.requests - before < REQUESTS
        found.until(found.judged, "not every graph is judged")
        assert found.count == 1, "the operator lived on"
    keep("T12-operator", Tally(Counter({"away": STOPS})), "stops")
