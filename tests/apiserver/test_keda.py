"""Workers where the external metrics API is somebody else's: scaled by KEDA where its CRDs are, else on CPU; and both say so.

KEDA's own CRDs, by the real operator with the rights of the chart's. KEDA itself does not run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from arklex_operator.manifests.kinds import HPA, SCALED_OBJECT, TRIGGER_AUTHENTICATION, WORKER, Object
from tests.apiserver.api import Api
from tests.apiserver.operators import leading, operator
from tests.apiserver.workers import IMAGES, Space, account, until
from tests.cluster.bed.programs import program
from tests.controlplane import ControlPlane, control_plane
from tests.metrics_api import API_SERVICE, FOREIGN, HOLDER
from tests.services import RedisServer

pytestmark = [pytest.mark.apiserver, pytest.mark.redis]

TAKEN = f"{API_SERVICE} belongs to {HOLDER}, which is left alone"


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with control_plane() as running:
        running.kubectl("apply", "--filename=-", stdin=FOREIGN)
        yield running


@pytest.fixture(scope="module", name="rights")
def operator_rights(plane: ControlPlane) -> Path:
    return account(plane)


@pytest.fixture
def api(plane: ControlPlane) -> Iterator[Api]:
    connection = Api(plane.kubeconfig)
    yield connection
    connection.close()


@pytest.fixture
def settings(redis_process: RedisServer) -> dict[str, str]:
    return leading(redis_process.url, IMAGES, 60)


def keda_crds(plane: ControlPlane) -> None:
    plane.add_crds(*(program(f"keda-{kind}.yaml") for kind in ("scaledobjects", "triggerauthentications")))


def judge_hpa(space: Space) -> None:
    """Say of the HPA what its controller would."""
    at = "2026-11-26T00:00:00Z"
    condition = {"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound", "lastTransitionTime": at}
    status = {"conditions": [condition], "desiredReplicas": 1, "currentMetrics": []}
    space.patch(HPA, "w-worker", {"status": status}, "status")


def until_there(space: Space, kind: Any) -> Object:
    return until(lambda: space.get(kind, "w-worker"), f"the {kind.name}", space.process)


def test_on_cpu_then_by_keda_once_it_comes(plane: ControlPlane, api: Api, rights: Path, settings: dict[str, str]) -> None:
    with operator(rights, **settings) as process:
        space = Space(api, api.namespace(), process)
        space.apply(concurrency=4, scaling={"minReplicas": 0, "maxReplicas": 7})
        (metric,) = until_there(space, HPA)["spec"]["metrics"]
        assert metric["type"] == "ContainerResource" and metric["containerResource"]["name"] == "cpu"
        assert TAKEN in space.until_condition("HysteresisExact", "False", "CpuOnly")
        judge_hpa(space)
        said = space.until_condition("ScalingActive", "True", "ZeroUnsupported")
        assert said.startswith("scaled on CPU alone; queued tasks do not count") and TAKEN in said

        keda_crds(plane)
        scaled, login = until_there(space, SCALED_OBJECT), until_there(space, TRIGGER_AUTHENTICATION)
        said = space.until_condition("ScalingActive", "True", "Keda")
        assert said.startswith("scaled by KEDA on the slots in use") and TAKEN in said
        space.until_condition("HysteresisExact", "False", "Keda")
        until(lambda: space.get(HPA, "w-worker") is None, "the HPA leaves", process)
        check_scaled_object(space, scaled, login, settings["ARKLEX_REDIS_URL"])
        check_it_stays(space, scaled)


def check_scaled_object(space: Space, scaled: Object, login: Object, redis_url: str) -> None:
    """As the API server kept it: nothing that KEDA's schema does not know, nothing lost."""
    spec = scaled["spec"]
    (trigger,) = spec["triggers"]
    assert trigger["type"] == "redis-streams"
    assert trigger["metadata"] == {
        "address": redis_url.removeprefix("redis://").split("/")[0],
        "databaseIndex": "0",
        "enableTLS": "false",
        "stream": f"arklex:{{{space.namespace}}}:jobs:w",
        "streamLength": "4",
    }
    assert trigger["authenticationRef"] == {"name": login["metadata"]["name"]}
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "w-worker"}
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (1, 7)
    modifiers = spec["advanced"]["scalingModifiers"]
    assert (modifiers["formula"], modifiers["metricType"]) == (trigger["name"], "AverageValue")
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleUp"]["tolerance"] and behavior["scaleDown"]["policies"]
    assert [one["key"] for one in login["spec"]["secretTargetRef"]] == ["username", "password"]
    for each in (scaled, login):
        (owner,) = each["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["controller"]) == ("Worker", "w", True)


def check_it_stays(space: Space, scaled: Object) -> None:
    """Reconciles that find nothing to do write nothing."""
    line = 'arklex_operator_reconciles_total{kind="Worker",result="ok"}'
    before = space.process.metric(line)
    space.patch(WORKER, "w", {"metadata": {"annotations": {"touched": "once"}}})
    until(lambda: space.process.metric(line) > before, "a reconcile", space.process)
    time.sleep(1)
    found = until_there(space, SCALED_OBJECT)
    assert found["metadata"]["resourceVersion"] == scaled["metadata"]["resourceVersion"]


def test_on_cpu_again_once_keda_is_gone(plane: ControlPlane, api: Api, rights: Path, settings: dict[str, str]) -> None:
    keda_crds(plane)
    with operator(rights, **settings) as process:
        space = Space(api, api.namespace(), process)
        space.apply()
        until_there(space, SCALED_OBJECT)
        assert space.get(HPA, "w-worker") is None
        plane.kubectl("delete", "crd", "scaledobjects.keda.sh", "triggerauthentications.keda.sh")
        until_there(space, HPA)
        judge_hpa(space)
        assert TAKEN in space.until_condition("ScalingActive", "True", "CpuOnly")
