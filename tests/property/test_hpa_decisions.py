"""The HPA's own arithmetic, told what we tell it, does what the guide's AutoScaler says."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import assume, example, given
from hypothesis import strategies as st

from arklex_api.worker import Scaling
from arklex_operator.load import quantity
from arklex_operator.load.band import band
from arklex_operator.load.controller import DEFAULT_TOLERANCE, Target, limit
from arklex_operator.load.pool import Pool
from arklex_operator.load.publish import tell
from arklex_operator.load.usage import Usage
from arklex_runtime.scaling.autoscaler import AutoScaler

HUNDREDTHS = st.integers(1, 1000)


@st.composite
def scalings(draw: st.DrawFn) -> Scaling:
    up = draw(HUNDREDTHS)
    down = draw(st.integers(0, up - 1))
    lowest = draw(st.integers(0, 6))
    highest = draw(st.integers(max(1, lowest), 12))
    return Scaling(
        min_replicas=lowest,
        max_replicas=highest,
        scale_up_threshold=up / 100,
        scale_down_threshold=down / 100,
        step=draw(st.integers(1, 4)),
        cooldown_seconds=draw(st.sampled_from([1, 20, 300, 1800])),
    )


def pool(scaling: Scaling, load: float, pods: int, *, counted: int | None = None, since: float | None = None) -> Pool:
    """A pool that is busy with CPU and memory alone, so that its load can be anything."""
    ready = pods if counted is None else min(pods, counted)
    return Pool(scaling, 10, pods, ready, pods if counted is None else counted, 0, 0, Usage(load, load, pods), since)


def decided(target: Target, seen: Pool) -> int:
    """Pods that the HPA makes of what it is told, with its policies and bounds."""
    scaling = seen.scaling
    wanted = target.replicas(tell(seen, target).value, current=seen.desired, ready=seen.counted)
    return limit(wanted, current=seen.desired, step=scaling.step, lowest=scaling.min_replicas, highest=scaling.max_replicas)


@given(scalings())
@example(Scaling())
def test_the_controller_holds_from_edge_to_edge_and_nowhere_else(scaling: Scaling) -> None:
    edges = band(scaling)
    lower, upper = round(scaling.scale_down_threshold * 1000), round(scaling.scale_up_threshold * 1000)
    assert edges.problem is None
    assert edges.as_target().bounds() == (edges.lower, edges.upper) == (lower, upper)
    for value in {max(0, lower - 1), lower, edges.target, upper, upper + 1}:
        assert edges.as_target().within(value) == (lower <= value <= upper)


@given(scalings(), st.data())
def test_a_step_is_what_the_guide_decides(scaling: Scaling, data: st.DataObject) -> None:
    pods = data.draw(st.integers(max(1, scaling.min_replicas), scaling.max_replicas))
    edge = data.draw(st.sampled_from([scaling.scale_up_threshold, scaling.scale_down_threshold]))
    load = data.draw(st.one_of(st.just(edge), st.floats(0, 20), st.integers(-3, 3).map(lambda milli: edge + milli / 1000)))
    assume(load >= 0)
    guide = AutoScaler(
        {
            "min_instances": scaling.min_replicas,
            "max_instances": scaling.max_replicas,
            "scale_up_threshold": scaling.scale_up_threshold,
            "scale_down_threshold": scaling.scale_down_threshold,
        }
    )
    decision = guide.check_scaling_needs({"cpu_usage": load, "memory_usage": load, "instances": pods})
    expected = {
        "scale_up": min(scaling.max_replicas, pods + scaling.step),
        "maintain": pods,
        "scale_down": max(scaling.min_replicas, pods - scaling.step, 1),  # the last pod goes when the pool is idle
    }[decision]
    seen = pool(scaling, load, pods)
    assert decided(band(scaling).as_target(), seen) == expected
    dropped = Target(band(scaling).target, DEFAULT_TOLERANCE, DEFAULT_TOLERANCE, explicit=False)
    assert decided(dropped, seen) == expected


@given(scalings(), st.floats(0, 20), st.integers(1, 12), st.integers(0, 12))
def test_too_few_ready_pods_never_grow_a_pool(scaling: Scaling, load: float, pods: int, counted: int) -> None:
    assume(scaling.min_replicas <= pods <= scaling.max_replicas and counted < pods)
    target = band(scaling).as_target()
    after = decided(target, pool(scaling, load, pods, counted=counted))
    assert after <= pods
    assert after == pods or load < scaling.scale_down_threshold


@given(scalings(), st.floats(0, 20), st.integers(1, 12), st.integers(0, 14), st.floats(0, 1))
def test_within_the_cooldown_nothing_moves(scaling: Scaling, load: float, pods: int, counted: int, share: float) -> None:
    assume(scaling.min_replicas <= pods <= scaling.max_replicas)
    seen = pool(scaling, load, pods, counted=counted, since=share * scaling.cooldown_seconds)
    assert tell(seen).reason == "Cooldown"
    assert decided(band(scaling).as_target(), seen) == pods


@given(scalings(), st.integers(1, 12), st.integers(1, 3), st.floats(0, 20))
def test_surge_pods_do_not_turn_a_decision_round(scaling: Scaling, pods: int, surge: int, load: float) -> None:
    assume(max(1, scaling.min_replicas) <= pods <= scaling.max_replicas)
    after = decided(band(scaling).as_target(), pool(scaling, load, pods, counted=pods + surge))
    if load < scaling.scale_down_threshold:
        assert after <= pods
    elif load > scaling.scale_up_threshold:
        assert after >= pods
    else:
        assert after == pods


@given(st.fractions(0, 10**6))
def test_quantities_are_read_back(value: Fraction) -> None:
    rounded = Fraction(round(value * 10**9), 10**9)
    assert quantity.parse(quantity.decimal(value)) == rounded
