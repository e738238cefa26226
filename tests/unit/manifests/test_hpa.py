"""What the HPA and KEDA are given for a Worker."""

from __future__ import annotations

from typing import Any

import pytest

from arklex_api.worker import Worker
from arklex_operator.load.source import Source
from arklex_operator.manifests.hpa import hpa
from arklex_operator.manifests.keda import keda

METADATA = {"name": "assistant-worker", "namespace": "team", "labels": {"arklex.ai/worker": "assistant"}}


def worker(**scaling: Any) -> Worker:
    manifest = {
        "apiVersion": "arklex.ai/v1alpha1",
        "kind": "Worker",
        "metadata": {"name": "assistant"},
        "spec": {"type": "tool", "scaling": scaling, "concurrency": 4},
    }
    return Worker.model_validate(manifest)


def test_the_guides_thresholds_become_a_target_and_tolerances() -> None:
    made = hpa(worker(), Source.EXTERNAL, METADATA)
    policies = [{"type": "Pods", "value": 1, "periodSeconds": 300}]
    rules = {"selectPolicy": "Max", "policies": policies, "stabilizationWindowSeconds": 0, "tolerance": "600m"}
    assert made["metadata"] == METADATA
    assert made["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "assistant-worker"},
        "minReplicas": 2,
        "maxReplicas": 10,
        "metrics": [
            {
                "type": "External",
                "external": {
                    "metric": {"name": "arklex-worker-load", "selector": {"matchLabels": {"arklex.ai/worker": "assistant"}}},
                    "target": {"type": "Value", "value": "500m"},
                },
            }
        ],
        "behavior": {"scaleUp": rules, "scaleDown": rules},
    }


def test_a_target_of_whole_loads_is_canonical() -> None:
    made = hpa(worker(scaleUpThreshold=3, scaleDownThreshold=1), Source.EXTERNAL, METADATA)
    assert made["spec"]["metrics"][0]["external"]["target"]["value"] == "2"


def test_no_cooldown_is_a_period_of_a_second() -> None:
    made = hpa(worker(cooldownSeconds=0, step=3), Source.EXTERNAL, METADATA)
    assert made["spec"]["behavior"]["scaleUp"]["policies"] == [{"type": "Pods", "value": 3, "periodSeconds": 1}]


def test_without_our_metric_cpu_in_whole_percent_and_a_pod_at_least() -> None:
    made = hpa(worker(minReplicas=0), Source.CPU, METADATA)
    assert made["spec"]["minReplicas"] == 1
    resource = made["spec"]["metrics"][0]["containerResource"]
    assert resource == {"name": "cpu", "container": "worker", "target": {"type": "Utilization", "averageUtilization": 50}}
    down = made["spec"]["behavior"]["scaleDown"]
    assert (down["tolerance"], down["stabilizationWindowSeconds"]) == ("600m", 300)
    assert hpa(worker(minReplicas=0), Source.EXTERNAL, METADATA)["spec"]["minReplicas"] == 0


def test_keda_scales_on_slots_per_pod() -> None:
    authentication, scaled = keda(worker(minReplicas=0), METADATA, "rediss://redis.arklex:6380/2")
    assert authentication["metadata"] == scaled["metadata"] == METADATA
    assert authentication["spec"]["secretTargetRef"][0] == {
        "parameter": "username",
        "name": "arklex-connection",
        "key": "username",
    }
    modifiers = scaled["spec"]["advanced"]["scalingModifiers"]
    assert modifiers == {"formula": "busy", "target": "2.0", "metricType": "AverageValue"}
    assert scaled["spec"]["minReplicaCount"] == 1
    assert scaled["spec"]["triggers"][0]["metadata"] == {
        "address": "redis.arklex:6380",
        "databaseIndex": "2",
        "stream": "arklex:{team}:jobs:assistant",
        "streamLength": "4",
        "enableTLS": "true",
    }
    with pytest.raises(ValueError, match="KEDA makes the HPA itself"):
        hpa(worker(), Source.KEDA, METADATA)
