"""Which pods go first, and when a pool at zero is woken."""

from __future__ import annotations

import pytest

from arklex_api.worker import Scaling
from arklex_operator.reconcile.costs import bucket, costs_to_write, nears_shrink
from arklex_operator.reconcile.wake import wakes


def test_buckets_are_few() -> None:
    assert [bucket(held, 10) for held in (0, 1, 4, 5, 7, 8, 10, 12)] == [0, 1, 1, 10, 10, 100, 100, 100]
    assert [bucket(held, 1) for held in (0, 1)] == [0, 1]
    assert [bucket(held, 1000) for held in (0, 1, 1000)] == [0, 1, 100]


def test_only_changes_are_written_and_each_pod_once_in_ten_seconds() -> None:
    annotated = {"a": None, "b": "100", "c": "1", "d": "0"}
    held = {"a": 0, "b": 1, "c": 10}
    assert costs_to_write(held, annotated, {}, 100.0, 10) == {"b": "1", "c": "100"}
    assert costs_to_write(held, annotated, {"b": 95.0, "c": 90.0}, 100.0, 10) == {"c": "100"}


@pytest.mark.parametrize(
    ("load", "desired", "near"),
    [(0.31, 4, False), (0.29, 4, True), (0.0, 2, False), (0.0, 3, True), (0.9, 11, True)],
)
def test_costs_are_written_only_near_a_shrink(load: float, desired: int, near: bool) -> None:
    assert nears_shrink(load, Scaling(), desired) is near


def test_a_pool_at_zero_is_woken_after_a_minute_of_queued_work() -> None:
    zero = Scaling(min_replicas=0)
    assert [wakes(zero, desired=0, queued_for=waited) for waited in (None, 59.9, 60.0)] == [False, False, True]
    assert not wakes(zero, desired=1, queued_for=600.0)
    assert not wakes(Scaling(), desired=0, queued_for=600.0)
