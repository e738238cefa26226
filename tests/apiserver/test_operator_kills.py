"""The operator killed at its n-th write, before or after it: the end is that of a life without death (T8 of reliability.md).

Thirty trials here, a hundred with ARKLEX_FAULTS=nightly: every write on both sides, then two deaths in one life by a seed.
"""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter

import pytest

from tests.apiserver.lives import life, side_by_side, undisturbed
from tests.controlplane import ControlPlane
from tests.faults.checker import Tally
from tests.faults.report import keep
from tests.faults.sizes import NIGHTLY

pytestmark = pytest.mark.apiserver

SEED = 8
TRIALS = 100 if NIGHTLY else 30
BATCH = 10
WRITES = 11
"""Writes to our kinds in a life without death, at the least."""

Death = tuple[int, bool]
"""At which write, and whether before it."""

ONCE: list[list[Death]] = [[(n, before)] for n in range(1, WRITES + 1) for before in (True, False)]


def chosen() -> list[list[Death]]:
    """The deaths of each trial."""
    chance = random.Random(SEED)
    places = range(1, WRITES + 3)
    twice = [[(n, chance.random() < 0.5) for n in sorted(chance.sample(places, 2))] for _ in range(TRIALS - len(ONCE))]
    return ONCE + twice


DEATHS = chosen()


@pytest.fixture(scope="module")
def goals(control_plane: ControlPlane) -> list[str]:
    """Return the states at the ends of both parts of a life without death."""
    states, writes = undisturbed(control_plane)
    assert len(writes) >= WRITES and len({line.partition(" ")[0] for line in writes}) == 3, writes
    return states


def test_a_life_without_death_ends_as_it_should(goals: list[str]) -> None:
    found = json.loads(goals[1])
    runs = [each["metadata"]["name"].rsplit("-", 1)[0] for each in found if each["kind"] == "TaskGraphRun"]
    assert runs == ["sub-UID8", "top-UID8"]
    assert [each["status"]["conditions"][0]["reason"] for each in found if each["kind"] == "TaskGraph"] == [
        "Valid", "Valid", "UnknownWorker",
    ]  # fmt: skip


@pytest.mark.parametrize("start", range(0, TRIALS, BATCH))
def test_an_operator_killed_at_a_write_leaves_nothing_else(control_plane: ControlPlane, goals: list[str], start: int) -> None:
    killed: list[str] = []

    def trial(deaths: list[Death]) -> int:
        left = list(deaths)
        with life(control_plane) as found:

            def die() -> None:
                found.kill()
                killed.append(f"{'before' if found.proxy.before else 'after'} write {found.proxy.at}")
                plan()

            def plan() -> None:
                found.proxy.at, found.proxy.before = left.pop(0) if left else (0, False)

            found.proxy.fault = die
            plan()
            found.begin()
            found.reach(goals[0])
            found.go_on()
            found.reach(goals[1])
            return found.count

    lives = DEATHS[start : start + BATCH]
    assert min(side_by_side(trial, lives)) >= 2
    keep("T8", Tally(Counter(killed), len(killed)), str(start))


def test_two_that_both_lead_do_no_harm_and_do_not_fight(control_plane: ControlPlane, goals: list[str]) -> None:
    def trial(_: int) -> tuple[int | None, int]:
        with life(control_plane) as found:
            first = found.start()
            found.start()
            try:
                found.begin()
                found.reach(goals[0])
                found.go_on()
                found.reach(goals[1])
                writes = len(found.proxy.log)
                time.sleep(2)
                return first.process.poll(), len(found.proxy.log) - writes
            finally:
                first.stop(signal.SIGKILL)

    assert side_by_side(trial, range(TRIALS // 7)) == [(None, 0)] * (TRIALS // 7)
