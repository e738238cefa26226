"""What counts as a pool's CPU and memory."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest

from arklex_operator.load import quantity
from arklex_operator.load.usage import Usage, read_pod, seconds, usage

LIMITS = {"limits": {"cpu": "500m", "memory": "512Mi"}}


def pod(name: str, *, ready: str = "2026-01-01T00:00:00Z", **changes: Any) -> dict[str, Any]:
    """A ready pod with one container; ``changes`` replace metadata, spec or conditions."""
    condition = {"type": "Ready", "status": changes.get("status", "True"), "lastTransitionTime": ready}
    return {
        "metadata": {"name": name, **changes.get("metadata", {})},
        "spec": changes.get("spec", {"containers": [{"name": "worker", "resources": LIMITS}]}),
        "status": {"phase": changes.get("phase", "Running"), "conditions": [condition]},
    }


def sample(cpu: str, memory: str, at: str = "2026-01-01T01:00:00Z") -> dict[str, Any]:
    """PodMetrics of one container over 15 s."""
    return {"timestamp": at, "window": "15s", "containers": [{"name": "worker", "usage": {"cpu": cpu, "memory": memory}}]}


def test_an_idle_python_worker_counts_by_its_limits() -> None:
    found = usage([read_pod(pod("a"))], {"a": sample("5m", "120Mi")})
    assert found is not None
    assert found.share == pytest.approx((0.01 + 120 / 512) / 2)
    assert found.share < 0.2


def test_requests_stand_in_for_limits() -> None:
    spec = {"containers": [{"name": "worker", "resources": {"requests": {"cpu": "1", "memory": "100M"}}}]}
    assert usage([read_pod(pod("a", spec=spec))], {"a": sample("250m", "50M")}) == Usage(0.25, 0.5, 1)


def test_a_resource_without_limit_counts_nothing() -> None:
    spec = {"containers": [{"name": "worker", "resources": {"limits": {"memory": "100M"}}}, {"name": "other"}]}
    assert read_pod(pod("a", spec=spec)).limits == {}


def test_sidecars_and_the_pods_own_limits_count() -> None:
    sidecar = {"name": "handler", "restartPolicy": "Always", "resources": LIMITS}
    init = {"name": "migrate", "resources": {"limits": {"cpu": "8", "memory": "8Gi"}}}
    spec: dict[str, Any] = {"containers": [{"name": "worker", "resources": LIMITS}], "initContainers": [sidecar, init]}
    assert read_pod(pod("a", spec=spec)).limits["cpu"] == 1
    spec["resources"] = {"limits": {"cpu": "2"}}
    assert read_pod(pod("a", spec=spec)).limits == {"cpu": 2, "memory": 2**30}


def test_only_ready_pods_that_stay_and_have_a_sample_count() -> None:
    pods = [
        read_pod(pod("busy")),
        read_pod(pod("unready", status="False")),
        read_pod(pod("pending", phase="Pending")),
        read_pod(pod("leaving", metadata={"deletionTimestamp": "2026-01-01T00:59:00Z"})),
        read_pod(pod("unsampled")),
        read_pod(pod("starting", ready="2026-01-01T00:59:50Z")),
    ]
    samples = {each.name: sample("500m", "512Mi") for each in pods if each.name != "unsampled"}
    samples["busy"] = sample("250m", "128Mi")
    assert usage(pods, samples) == Usage(0.5, 0.25, 1)
    assert [each.counted for each in pods] == [True, False, False, True, True, True]
    assert usage(pods[1:], samples) is None


def test_windows_and_times_are_read() -> None:
    assert [seconds(text) for text in ("15s", "1m0s", "0s", "10.5s", "1h0m1s", "500ms")] == [15, 60, 0, 10.5, 3601, 0.5]
    assert read_pod(pod("a")).ready_since == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "value"),
    [("250m", Fraction(1, 4)), ("1.5Gi", Fraction(3 * 2**29)), ("12n", Fraction(12, 10**9)), ("1e3", 1000), ("-2k", -2000),
     (".5", Fraction(1, 2)), ("1E", 10**18), ("3E2", 300)],
)  # fmt: skip
def test_quantities_are_read_exactly(text: str, value: Fraction) -> None:
    assert quantity.parse(text) == value
    assert quantity.approximate(text) == pytest.approx(float(value))


@pytest.mark.parametrize("text", ["", "m", "1 Gi", "0x1", "1KiB", "--1", "1.2.3"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        quantity.parse(text)


def test_milli_values_are_rounded_up() -> None:
    assert [quantity.milli(text) for text in ("500m", "0.0001", "1", "1500u")] == [500, 1, 1000, 2]
