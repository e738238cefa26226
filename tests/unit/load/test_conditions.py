"""What a Worker's status says of what scales it."""

from __future__ import annotations

from typing import Any

import pytest

from arklex_api.base import ObjectMeta
from arklex_api.worker import Scaling, Worker, WorkerSpec
from arklex_operator.load.conditions import hysteresis_exact, idle_below_threshold, scaling_active
from arklex_operator.load.source import MANAGED_BY, Found, Source, find
from arklex_operator.load.usage import Usage
from arklex_operator.manifests.hpa import hpa

AVAILABLE = {"type": "Available", "status": "True", "reason": "Passed", "message": "all checks passed"}


def api_service(*, owner: str | None = "arklex-metrics", condition: dict[str, str] | None = AVAILABLE) -> dict[str, Any]:
    labels = {MANAGED_BY: owner} if owner else {}
    spec = {"service": {"namespace": "keda", "name": "keda-metrics-apiserver"}}
    return {"metadata": {"labels": labels}, "spec": spec, "status": {"conditions": [condition] if condition else []}}


def applied(scaling: Scaling, source: Source = Source.EXTERNAL, **condition: str) -> dict[str, Any]:
    """The HPA of a Worker with these settings, read back with one condition."""
    spec = WorkerSpec(type="tool", scaling=scaling)
    worker = Worker(api_version="arklex.ai/v1alpha1", kind="Worker", metadata=ObjectMeta(name="w"), spec=spec)
    made = hpa(worker, source, {"name": "w-worker", "namespace": "team"})
    return {**made, "status": {"conditions": [{"type": "ScalingActive", **condition}] if condition else []}}


@pytest.mark.parametrize(
    ("found", "source", "reason"),
    [
        (find(api_service(), keda=True), Source.EXTERNAL, "Load"),
        (find(api_service(condition=None), keda=False), Source.EXTERNAL, "MetricsUnavailable"),
        (find(api_service(condition={**AVAILABLE, "status": "False"}), keda=False), Source.EXTERNAL, "MetricsUnavailable"),
        (find(api_service(owner=None), keda=True), Source.KEDA, "Keda"),
        (find(api_service(owner="Helm"), keda=False), Source.CPU, "CpuOnly"),
        (find(None, keda=True), Source.KEDA, "Keda"),
        (find(None, keda=False), Source.CPU, "CpuOnly"),
    ],
)
def test_our_metric_then_keda_then_cpu(found: Found, source: Source, reason: str) -> None:
    assert (found.source, found.reason) == (source, reason)


def test_a_foreign_holder_is_named() -> None:
    assert "belongs to keda/keda-metrics-apiserver" in find(api_service(owner=None), keda=False).message


def test_scaling_active_follows_the_hpa() -> None:
    served, scaling = find(api_service(), keda=False), Scaling()
    assert scaling_active(scaling, served, None).status == "Unknown"
    active = scaling_active(scaling, served, applied(scaling, status="True", reason="ValidMetricFound"))
    assert (active.status, active.reason) == ("True", "Load")
    failed = applied(scaling, status="False", reason="FailedGetExternalMetric", message="redis: no answer for 31 s")
    inactive = scaling_active(scaling, served, failed)
    assert (inactive.status, inactive.reason) == ("False", "FailedGetExternalMetric")
    assert "redis: no answer for 31 s" in inactive.message
    away = scaling_active(scaling, find(api_service(condition=None), keda=False), failed)
    assert (away.status, away.reason) == ("False", "MetricsUnavailable")


def test_zero_without_our_metric_is_said() -> None:
    cpu, scaling = find(None, keda=False), Scaling(min_replicas=0)
    made = applied(scaling, Source.CPU, status="True", reason="ValidMetricFound")
    assert made["spec"]["minReplicas"] == 1
    assert scaling_active(scaling, cpu, made).reason == "ZeroUnsupported"
    assert scaling_active(Scaling(), cpu, made).reason == "CpuOnly"
    assert "ZeroUnsupported" in scaling_active(scaling, find(None, keda=True), None).message


def test_a_pool_scaled_to_zero_by_hand_is_named() -> None:
    served = find(api_service(), keda=False)
    by_hand = applied(Scaling(), status="False", reason="ScalingDisabled")
    assert "kubectl scale" in scaling_active(Scaling(), served, by_hand).message


def test_hysteresis_is_read_back_from_the_hpa() -> None:
    served, scaling = find(api_service(), keda=False), Scaling()
    made = applied(scaling)
    assert hysteresis_exact(scaling, served, made).status == "True"
    assert hysteresis_exact(scaling, served, None).status == "Unknown"
    assert hysteresis_exact(Scaling(scale_up_threshold=0.9), served, made).reason == "Changed"
    assert hysteresis_exact(Scaling(scale_down_threshold=0.001), served, made).reason == "ThresholdTooFine"
    assert hysteresis_exact(scaling, find(None, keda=False), made).status == "False"
    for direction in made["spec"]["behavior"].values():
        del direction["tolerance"]
    dropped = hysteresis_exact(scaling, served, made)
    assert (dropped.status, dropped.reason) == ("True", "DeadBand")


def test_a_pool_that_is_too_busy_doing_nothing_is_named() -> None:
    scaling = Scaling()
    fine = idle_below_threshold(scaling, Usage(0.01, 0.23, 2), 0)
    assert fine is not None and fine.status == "True"
    wrong = idle_below_threshold(scaling, Usage(0.01, 0.9, 2), 0)
    assert wrong is not None and (wrong.status, wrong.reason) == ("False", "IdleLoadTooHigh")
    assert "90% of their memory" in wrong.message and "resources.limits" in wrong.message
    assert idle_below_threshold(scaling, Usage(0.01, 0.9, 2), 1) is None
    assert idle_below_threshold(scaling, None, 0) is None
    assert idle_below_threshold(Scaling(scale_down_threshold=0), Usage(0.0, 0.9, 2), 0) is None
