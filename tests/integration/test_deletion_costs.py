"""Deletion costs, against a real API server and Redis; and that a shrinking ReplicaSet heeds them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis as sync_redis

from arklex_api.worker import Worker
from arklex_operator.cluster.api import Api
from arklex_operator.cluster.costs import Costs, Size
from arklex_operator.cluster.queues import connect
from tests.controlplane import ControlPlane
from tests.controlplane import control_plane as running_control_plane
from tests.pools import apply, deployment, worker

pytestmark = [pytest.mark.apiserver, pytest.mark.redis]

COST = "controller.kubernetes.io/pod-deletion-cost"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with running_control_plane(controllers={}) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def costs(plane: ControlPlane, redis_url: str, clock: Clock) -> AsyncIterator[Costs]:
    api, client = await Api.connect(kubeconfig=plane.kubeconfig), connect(redis_url, None)
    yield Costs(api, client, tuple, clock=clock)
    await client.aclose()
    await api.aclose()


def listed(plane: ControlPlane, namespace: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(plane.kubectl("get", "pods", f"--namespace={namespace}", "--output=json"))["items"]
    return found


def size(load: float, pods: list[dict[str, Any]]) -> Size:
    return Size(Worker.model_validate(worker("costs", "assistant", minReplicas=1)), len(pods), load, pods)


def beat(url: str, namespace: str, name: str, held: dict[str, int]) -> None:
    with sync_redis.Redis.from_url(url) as client:
        for pod, count in held.items():
            text = json.dumps({"v": 1, "beat": 1, "slots": 10, "held": [["r", "k", 1]] * count, "worker version": "1"})
            client.hset(f"arklex:{{{namespace}}}:pods:{name}", pod, text)


@contextmanager
def claimed(url: str, namespace: str, name: str, pod: str) -> Iterator[None]:
    """An attempt that a pod has claimed and not yet told of."""
    stream, group = f"arklex:{{{namespace}}}:jobs:{name}", "pool"
    with sync_redis.Redis.from_url(url) as client:
        client.xgroup_create(stream, group, mkstream=True)
        client.xadd(stream, {"job": "x"})
        client.xreadgroup(group, pod, {stream: ">"})
        yield
        client.delete(stream)


async def test_a_shrinking_pool_loses_its_idlest_pod_first(
    plane: ControlPlane, costs: Costs, redis_url: str, clock: Clock
) -> None:
    plane.kubectl("create", "namespace", "costs")
    apply(plane, deployment("costs", "assistant", 4))
    created = "--for=jsonpath={.status.replicas}=4"
    plane.kubectl("wait", "deployment/assistant-worker", created, "--namespace=costs", "--timeout=60s")
    pods = listed(plane, "costs")
    names = [each["metadata"]["name"] for each in pods]
    beat(redis_url, "costs", "assistant", dict(zip(names, (10, 5, 1, 0), strict=True)))

    assert await costs.write(size(0.5, pods)) == 0
    assert await costs.write(size(0.25, pods)) == 3
    pods = listed(plane, "costs")
    written = {each["metadata"]["name"]: each["metadata"].get("annotations", {}).get(COST) for each in pods}
    assert written == dict(zip(names, ("100", "10", "1", None), strict=True))
    assert await costs.write(size(0.25, pods)) == 0

    beat(redis_url, "costs", "assistant", {names[0]: 0})
    clock.now += 9
    assert await costs.write(size(0.25, pods)) == 0
    assert await costs.write(size(0.25, pods), at_once=True) == 1
    beat(redis_url, "costs", "assistant", {names[0]: 10})
    pods = listed(plane, "costs")
    assert await costs.write(size(0.25, pods)) == 0
    assert await costs.write(size(0.25, pods), at_once=True) == 1
    beat(redis_url, "costs", "assistant", {names[0]: 0})
    pods = listed(plane, "costs")
    clock.now += 9
    assert await costs.write(size(0.25, pods)) == 0
    clock.now += 1
    assert await costs.write(size(0.25, pods)) == 1

    with claimed(redis_url, "costs", "assistant", names[3]):
        assert await costs.write(size(0.25, listed(plane, "costs")), at_once=True) == 1
        costing = {each["metadata"]["name"]: each["metadata"]["annotations"][COST] for each in listed(plane, "costs")[3:]}
        assert costing == {names[3]: "1"}, "its heartbeat does not say so yet"
    assert await costs.write(size(0.25, listed(plane, "costs")), at_once=True) == 1

    for name in names:
        plane.kubectl("patch", "pod", name, "--namespace=costs", "--subresource=status", "--type=merge", f"--patch={READY}")
    plane.kubectl("scale", "deployment/assistant-worker", "--replicas=2", "--namespace=costs")
    plane.kubectl(
        "wait", "deployment/assistant-worker", "--for=jsonpath={.status.replicas}=2", "--namespace=costs", "--timeout=60s"
    )
    left = {each["metadata"]["name"] for each in listed(plane, "costs") if not each["metadata"].get("deletionTimestamp")}
    assert left == {names[1], names[2]}


READY = json.dumps(
    {
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        }
    }
)
