"""When a pool grows and shrinks."""

from __future__ import annotations

from typing import Any

import pytest

from arklex_runtime.scaling.autoscaler import AutoScaler


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("metrics", "decision"),
    [
        ({"cpu_usage": 0.9, "memory_usage": 0.8}, "scale_up"),
        ({"cpu_usage": 0.8, "memory_usage": 0.8}, "maintain"),
        ({"cpu_usage": 0.2, "memory_usage": 0.2}, "maintain"),
        ({"cpu_usage": 0.1, "memory_usage": 0.2}, "scale_down"),
        ({}, "scale_down"),
        ({"queue_length": 9}, "scale_up"),
        ({"queue_length": 9, "instances": 3}, "maintain"),
        ({"queue_length": 50, "instances": 3}, "scale_up"),
        ({"cpu_usage": 1.0, "memory_usage": 1.0, "instances": 10}, "maintain"),
        ({"instances": 2}, "maintain"),
        ({"instances": 3}, "scale_down"),
        ({"cpu_usage": 0.0, "instances": 1}, "scale_up"),
        ({"cpu_usage": 1.0, "memory_usage": 1.0, "instances": 11}, "scale_down"),
    ],
)
def test_load_and_bounds_decide(metrics: dict[str, float], decision: str) -> None:
    assert AutoScaler({}, clock=Clock()).check_scaling_needs(metrics) == decision


def test_a_decision_is_followed_by_a_cooldown() -> None:
    clock = Clock()
    scaler = AutoScaler({"cooldown_period": 60}, clock=clock)
    busy = {"cpu_usage": 1.0, "memory_usage": 1.0, "instances": 2.0}
    assert scaler.check_scaling_needs(busy) == "scale_up"
    clock.now = 59.9
    assert scaler.check_scaling_needs(busy) == "maintain"
    assert scaler.check_scaling_needs({**busy, "instances": 1}) == "scale_up"
    clock.now = 60
    assert scaler.check_scaling_needs(busy) == "maintain"
    clock.now = 119.9
    assert scaler.check_scaling_needs(busy) == "scale_up"


@pytest.mark.parametrize(
    "config",
    [
        {"min_instances": 3, "max_instances": 2},
        {"min_instances": -1},
        {"scale_up_threshold": 0.2},
        {"slots_per_instance": 0},
        {"cooldown_period": -1},
    ],
)
def test_settings_that_contradict_each_other_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|at least"):
        AutoScaler(config)
