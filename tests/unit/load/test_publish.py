"""What the HPA is told, case by case (docs/cluster.md, "Autoscaling")."""

from __future__ import annotations

from typing import Any

import pytest

from arklex_api.worker import Scaling
from arklex_operator.load.controller import Target, read_target
from arklex_operator.load.pool import Pool
from arklex_operator.load.publish import Told, tell
from arklex_operator.load.usage import Usage

ZERO = Scaling(min_replicas=0)


def pool(scaling: Scaling | None = None, **changes: Any) -> Pool:
    """Four ready pods of ten slots that nothing was asked of for long."""
    pods = changes.pop("pods", 4)
    fields: dict[str, Any] = {"desired": pods, "ready": pods, "counted": pods, "queued": 0, "in_flight": 0, "idle": 1e6}
    return Pool(scaling or Scaling(), 10, **{**fields, **changes})


@pytest.mark.parametrize(
    ("busy", "value"),
    [(32, 800), (33, 825), (8, 200), (7, 175), (20, 500), (0, 0), (400, 10000)],
)
def test_slots_in_use_are_the_load(busy: int, value: int) -> None:
    assert tell(pool(in_flight=busy)) == Told(value, "Load")
    assert tell(pool(queued=busy)) == Told(value, "Load")


def test_the_fuller_of_usage_and_slots_is_the_load() -> None:
    assert tell(pool(usage=Usage(0.9, 0.7, 4), in_flight=4)).value == 800
    assert tell(pool(usage=Usage(0.9, 0.7, 4), in_flight=36)).value == 900


def test_edges_are_milli_exact() -> None:
    target = Target(500, 0.6, 0.6)
    values = {load: tell(pool(usage=Usage(load, load, 4)), target).value for load in (0.8, 0.801, 0.8001, 0.2, 0.199, 0.1999)}
    assert values == {0.8: 800, 0.801: 801, 0.8001: 801, 0.2: 200, 0.199: 199, 0.1999: 199}
    replicas = {load: target.replicas(value, current=4, ready=4) for load, value in values.items()}
    assert replicas == {0.8: 4, 0.801: 7, 0.8001: 7, 0.2: 4, 0.199: 2, 0.1999: 2}


def test_one_of_six_ready_does_not_shrink_the_pool() -> None:
    told = tell(pool(desired=6, ready=1, counted=1, in_flight=9))
    assert told == Told(800, "NotReady")
    assert Target(500, 0.6, 0.6).replicas(told.value, current=6, ready=1) == 6
    assert Target(500, 0.6, 0.6).replicas(900, current=6, ready=1) == 2


@pytest.mark.parametrize("in_flight", [0, 40])
def test_a_change_is_followed_by_a_cooldown_in_both_directions(in_flight: int) -> None:
    assert tell(pool(in_flight=in_flight, since_change=300.9)) == Told(800 if in_flight else 200, "Cooldown")
    assert tell(pool(in_flight=in_flight, since_change=301.0)) == Told(1000 if in_flight else 0, "Load")


def test_surge_pods_are_no_slots() -> None:
    assert pool(desired=4, ready=5, counted=5, in_flight=20).load == 0.5


def test_a_pool_goes_to_zero_when_idle_for_a_cooldown_whatever_its_memory() -> None:
    memory = Usage(0.0, 0.9, 1)
    assert tell(pool(ZERO, pods=1, idle=299.0, usage=memory)) == Told(450, "Load")
    assert tell(pool(ZERO, pods=1, idle=300.0, usage=memory)) == Told(0, "Idle")
    assert tell(pool(ZERO, pods=1, idle=300.0, since_change=100.0)) == Told(200, "Cooldown")
    assert tell(pool(pods=2, idle=300.0, usage=memory)) == Told(450, "Load")


def test_a_little_work_keeps_the_last_pod() -> None:
    told = tell(pool(ZERO, pods=1, in_flight=1, idle=0.0))
    assert Target(500, 0.6, 0.6).replicas(told.value, current=1, ready=1) == 1
    assert tell(pool(ZERO, pods=1, idle=10.0)).value == 1


def test_a_pod_that_is_not_ready_yet_is_not_taken_back() -> None:
    for queued in (0, 1, 9, 100):
        told = tell(pool(ZERO, desired=1, ready=0, counted=0, queued=queued, idle=10.0))
        assert told.reason == "NotReady"
        assert Target(500, 0.6, 0.6).replicas(told.value, current=1, ready=0) == 1


@pytest.mark.parametrize(
    ("queued", "step", "value", "woken"),
    [(0, 1, 0, 0), (1, 1, 100, 1), (5, 1, 500, 1), (6, 1, 500, 1), (1000, 1, 500, 1), (1000, 3, 1500, 3)],
)
def test_queued_work_wakes_a_pool_by_a_step_at_most(queued: int, step: int, value: int, woken: int) -> None:
    told = tell(pool(Scaling(min_replicas=0, step=step), pods=0, queued=queued, usage=None, since_change=1.0))
    assert told.value == value
    assert Target(500, 0.6, 0.6).replicas(told.value, current=0, ready=0) == woken


def test_a_trace_of_work_wakes_a_pool_of_many_slots() -> None:
    assert tell(Pool(ZERO, 1000, 0, 0, 0, queued=1, in_flight=0)).text == "1m"
    assert tell(Pool(Scaling(min_replicas=0), 10000, 0, 0, 0, queued=1, in_flight=0)).value == 1


def test_where_tolerances_are_dropped_the_metric_keeps_to_the_target() -> None:
    target = read_target({"metrics": [{"type": "External", "external": {"target": {"value": "500m"}}}], "behavior": {}})
    assert target == Target(500, 0.1, 0.1, explicit=False)
    assert [tell(pool(in_flight=busy), target).value for busy in (8, 20, 31, 32, 33, 7)] == [500, 500, 500, 500, 825, 175]


def test_an_hpa_that_lags_behind_its_worker_is_held_by_its_own_band() -> None:
    old = Target(500, 0.6, 0.6)
    told = tell(pool(Scaling(scale_up_threshold=0.95), in_flight=38), old)
    assert old.replicas(told.value, current=4, ready=4) == 4
