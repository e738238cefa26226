"""The order of runs that wait for room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arklex_runtime.kube.queueing import NORMAL, Queue

WAITING = st.dictionaries(st.integers(0, 20), st.tuples(st.one_of(st.none(), st.integers(0, 9)), st.floats(0, 100)), min_size=1)


@given(WAITING)
def test_the_highest_priority_goes_first_then_who_waited_longest(waiting: dict[int, tuple[int | None, float]]) -> None:
    queue: Queue[int] = Queue()
    for key, (priority, since) in waiting.items():
        queue.join(key, priority, since)
    places = {key: (-(NORMAL if priority is None else priority), since) for key, (priority, since) in waiting.items()}
    for key, (priority, since) in waiting.items():
        assert queue.join(key, priority, since) == sum(place < places[key] for place in places.values())
    assert len(queue) == len(waiting)


def test_who_leaves_is_not_waited_for() -> None:
    queue: Queue[str] = Queue()
    assert queue.join("a", 9, 0.0) == 0
    assert queue.join("b", None, 1.0) == 1
    queue.leave("a")
    queue.leave("a")
    assert queue.join("b", None, 1.0) == 0
