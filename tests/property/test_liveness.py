"""Which attempts nobody holds: against random pods that claim, beat, stall and die, and a Redis that is away at times."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from arklex_runtime.dispatch.streams.liveness import Absence, Pods
from arklex_runtime.dispatch.streams.wire import Attempt, Heartbeat

A = Attempt("run", "task", 1)


def beat(number: int, *held: Attempt) -> Heartbeat:
    return Heartbeat(number, 10, list(held))


def looks(pods: Pods, start: float, end: float, **beats: list[Attempt]) -> float:
    """Look every second; the pods named beat each time and hold what is given."""
    now = start
    while now < end:
        now += 1.0
        pods.look(now, {name: beat(int(now * 10), *held) for name, held in beats.items()})
    return now


def test_a_held_attempt_is_held() -> None:
    pods = Pods(10)
    pods.look(0.0, {"a": beat(1, A)})
    assert pods.judge(A, None) == ("held", None)


def test_nobody_there_at_all_is_gone_after_a_while() -> None:
    pods = Pods(10)
    pods.look(0.0, {})
    verdict, absence = pods.judge(A, None)
    assert verdict == "missing"
    pods.look(2.0, {})
    assert pods.judge(A, absence)[0] == "missing"
    pods.look(4.0, {})
    assert pods.judge(A, absence)[0] == "gone"


def test_a_living_pod_has_to_beat_twice_before_it_is_believed() -> None:
    pods = Pods(10)
    pods.look(0.0, {"a": beat(1)})
    _, absence = pods.judge(A, None)
    for now, number, verdict in ((2.0, 2, "missing"), (4.0, 2, "missing"), (6.0, 3, "gone")):
        pods.look(now, {"a": beat(number)})
        assert pods.judge(A, absence)[0] == verdict, now


def test_a_dead_pod_takes_a_lease_and_no_longer() -> None:
    pods = Pods(10)
    pods.look(0.0, {"dead": beat(1, A), "other": beat(1)})
    absence: Absence | None = None
    verdict = ""
    now = 0.0
    while verdict != "gone":
        now += 1.0
        assert now < 12
        pods.look(now, {"dead": beat(1, A), "other": beat(int(now))})
        verdict, absence = pods.judge(A, absence)
        assert verdict != "gone" or now >= 10
    assert pods.dead_for(10) == ["dead"]


def test_a_pod_that_wakes_up_in_time_keeps_its_attempt() -> None:
    pods = Pods(10)
    pods.look(0.0, {"a": beat(1, A)})
    absence: Absence | None = None
    for now in range(1, 10):
        pods.look(float(now), {"a": beat(1, A)})
        verdict, absence = pods.judge(A, absence)
        assert verdict != "gone"
    pods.look(9.9, {"a": beat(2, A)})
    assert pods.judge(A, absence) == ("held", None)


def test_time_without_redis_does_not_count() -> None:
    pods = Pods(10)
    pods.look(0.0, {"a": beat(1, A)})
    pods.look(60.0, {"a": beat(1, A)})
    assert pods.alive("a") and pods.judge(A, None) == ("held", None)
    pods.look(61.0, {"a": beat(2)})
    _, absence = pods.judge(A, None)
    pods.look(120.0, {"a": beat(9)})
    verdict, again = pods.judge(A, absence)
    assert verdict == "missing" and again is not absence


def test_an_emptied_hash_does_not_make_pods_dead() -> None:
    pods = Pods(10)
    pods.look(0.0, {"a": beat(1, A)})
    absence: Absence | None = None
    for now in (1.0, 2.0, 3.0, 4.0, 5.0):
        pods.look(now, {})
        verdict, absence = pods.judge(A, absence)
        assert verdict != "gone"
    pods.look(6.0, {"a": beat(2, A)})
    assert pods.judge(A, absence) == ("held", None)


@dataclass
class World:
    """Pods as they are; what an observer is shown is what they last wrote."""

    random: random.Random
    holder: str
    claimed: float
    names: list[str] = field(default_factory=lambda: ["a", "b", "c"])
    written: dict[str, Heartbeat] = field(default_factory=dict)
    count: dict[str, int] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)

    def write(self, now: float, lease: float, silent: dict[str, tuple[float, float]]) -> None:
        for name in self.names:
            stalls, wakes = silent.get(name, (1e9, 1e9))
            if stalls <= now < wakes or self.due.get(name, 0.0) > now:
                continue
            self.due[name] = now + lease / 4
            self.count[name] = self.count.get(name, 0) + 1
            held = [A] if name == self.holder and now >= self.claimed else []
            self.written[name] = beat(self.count[name], *held)

    def away(self) -> None:
        """Redis cannot be reached: pods beat as soon as it can."""
        self.due.clear()


@settings(max_examples=300)
@given(
    st.integers(0, 2**32),
    st.sampled_from([1.0, 3.0, 10.0]),
    st.floats(0, 10),
    st.dictionaries(st.sampled_from("abc"), st.tuples(st.floats(0, 20), st.floats(0, 0.1)), max_size=3),
    st.lists(st.tuples(st.floats(0, 40), st.floats(0, 8)), max_size=3),
    st.lists(st.floats(0, 40), max_size=2),
)
def test_a_pod_that_is_not_silent_for_a_lease_never_loses_its_attempt(
    seed: int,
    lease: float,
    claimed: float,
    stalls: dict[str, tuple[float, float]],
    outages: list[tuple[float, float]],
    emptied: list[float],
) -> None:
    """Whatever the others do, however often Redis is emptied or away, and although claim and beat do not come together."""
    world, pods = World(random.Random(seed), "a", claimed), Pods(lease)
    silent = {name: (at, at + share * lease) for name, (at, share) in stalls.items()}
    absence: Absence | None = None
    now, next_look, flushes = 0.0, 0.0, sorted(emptied)
    while now < 40:
        away = any(at <= now < at + long for at, long in outages)
        if away:
            world.away()
        else:
            world.write(now, lease, silent)
            if flushes and flushes[0] <= now:
                flushes.pop(0)
                world.written.clear()
        if now >= next_look and not away:
            next_look = now + min(1.0, lease / 5) * world.random.uniform(0.9, 1.3)
            pods.look(now, dict(world.written))
            if now >= claimed:
                verdict, absence = pods.judge(A, absence)
                assert verdict != "gone", now
        now += min(0.05, lease / 40)
