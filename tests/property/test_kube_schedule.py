"""Writes of status: never more than allowed, the urgent first, nothing forgotten."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from arklex_runtime.kube.schedule import Schedule, Window

RATE = 5
WANTS = st.lists(
    st.tuples(st.floats(0, 0.4), st.sampled_from("abcdefgh"), st.booleans(), st.sampled_from([0.0, 0.3])), max_size=60
)


@settings(max_examples=200, deadline=None)
@given(WANTS, st.randoms(use_true_random=False))
def test_bounds_hold_and_everything_wanted_is_written(wants: list[tuple[float, str, bool, float]], luck: object) -> None:
    schedule: Schedule[str] = Schedule(Window(RATE))
    now, writes, asked = 0.0, list[tuple[float, str]](), dict[str, float]()
    busy: list[str] = []

    def work() -> None:
        while (key := schedule.take(now)) is not None:
            assert key not in busy
            writes.append((now, key))
            busy.append(key)
        while busy:
            schedule.done(busy.pop(), now, wrote=True)

    for pause, key, urgent, hold in wants:
        now += pause
        work()
        schedule.want(key, now, urgent=urgent, hold=hold)
        asked[key] = now
    while (wait := schedule.wait(now)) is not None:
        now += max(wait, 1e-6)
        work()
    assert not len(schedule)
    for at, key in writes:
        assert sum(at <= other < at + 1 - 1e-4 for other, _ in writes) <= RATE
        assert sum(at <= other < at + 1 - 1e-4 for other, name in writes if name == key) == 1
    for key, at in asked.items():
        assert any(name == key and other >= at for other, name in writes)


def test_the_urgent_go_first_and_a_hold_ends_with_what_is_urgent() -> None:
    schedule: Schedule[str] = Schedule(Window(1))
    schedule.want("progress", 0.0)
    schedule.want("phase", 0.0, urgent=True)
    assert schedule.take(0.0) == "phase"
    schedule.done("phase", 0.0, wrote=True)
    assert schedule.take(0.5) is None
    assert schedule.take(1.0) == "progress"
    schedule.done("progress", 1.0, wrote=False)
    schedule.want("short", 1.0, hold=0.3)
    assert schedule.take(1.0) is None
    schedule.want("short", 1.1, urgent=True)
    assert schedule.take(1.1) == "short"


def test_an_object_in_work_is_not_given_twice_and_what_came_meanwhile_is_kept() -> None:
    schedule: Schedule[str] = Schedule(Window(20))
    schedule.want("a", 0.0)
    assert schedule.take(0.0) == "a"
    schedule.want("a", 0.1, urgent=True)
    assert schedule.take(0.2) is None
    schedule.done("a", 0.2, wrote=True)
    assert schedule.wait(0.2) is not None
    assert schedule.take(0.9) is None
    assert schedule.take(1.0) == "a"


def test_what_was_not_written_does_not_count_and_may_be_tried_later() -> None:
    schedule: Schedule[str] = Schedule(Window(1))
    schedule.want("a", 0.0)
    assert schedule.take(0.0) == "a"
    schedule.done("a", 0.0, wrote=False)
    schedule.want("b", 0.0)
    assert schedule.take(0.0) == "b"
    schedule.done("b", 0.0, wrote=True)
    schedule.postpone("a", 0.0, 5.0)
    assert schedule.take(4.9) is None
    assert schedule.take(5.0) == "a"
