"""Deletion costs and waking, against a real API server and Redis; and that a shrinking ReplicaSet heeds the costs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis as sync_redis

from arklex_api.worker import Worker
from arklex_operator.cluster.api import Api
from arklex_operator.cluster.queues import connect
from arklex_operator.cluster.steering import Steering
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
async def steering(plane: ControlPlane, redis_url: str, clock: Clock) -> AsyncIterator[Steering]:
    api, client = await Api.connect(kubeconfig=plane.kubeconfig), connect(redis_url, None)
    yield Steering(api, client, clock=clock)
    await client.aclose()
    await api.aclose()


def listed(plane: ControlPlane, namespace: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(plane.kubectl("get", "pods", f"--namespace={namespace}", "--output=json"))["items"]
    return found


def model(manifest: dict[str, Any]) -> Worker:
    return Worker.model_validate(manifest)


def beat(url: str, namespace: str, name: str, held: dict[str, int]) -> None:
    with sync_redis.Redis.from_url(url) as client:
        for pod, count in held.items():
            text = json.dumps({"v": 1, "beat": 1, "slots": 10, "held": [["r", "k", 1]] * count, "worker version": "1"})
            client.hset(f"arklex:{{{namespace}}}:pods:{name}", pod, text)


async def test_a_shrinking_pool_loses_its_idlest_pod_first(
    plane: ControlPlane, steering: Steering, redis_url: str, clock: Clock
) -> None:
    plane.kubectl("create", "namespace", "costs")
    manifest = worker("costs", "assistant", minReplicas=1)
    apply(plane, manifest, deployment("costs", "assistant", 4))
    created = "--for=jsonpath={.status.replicas}=4"
    plane.kubectl("wait", "deployment/assistant-worker", created, "--namespace=costs", "--timeout=60s")
    pods = listed(plane, "costs")
    names = [each["metadata"]["name"] for each in pods]
    beat(redis_url, "costs", "assistant", dict(zip(names, (10, 5, 1, 0), strict=True)))

    assert await steering.cost(model(manifest), 4, 0.5, pods) == 0
    assert await steering.cost(model(manifest), 4, 0.25, pods) == 3
    pods = listed(plane, "costs")
    costs = {each["metadata"]["name"]: each["metadata"].get("annotations", {}).get(COST) for each in pods}
    assert costs == dict(zip(names, ("100", "10", "1", None), strict=True))
    assert await steering.cost(model(manifest), 4, 0.25, pods) == 0

    beat(redis_url, "costs", "assistant", {names[0]: 0})
    clock.now += 9
    assert await steering.cost(model(manifest), 4, 0.25, pods) == 0
    clock.now += 1
    assert await steering.cost(model(manifest), 4, 0.25, pods) == 1

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


async def test_a_pool_at_zero_is_woken_once_work_has_waited_a_minute(
    plane: ControlPlane, steering: Steering, clock: Clock
) -> None:
    plane.kubectl("create", "namespace", "asleep")
    manifest = worker("asleep", "assistant", minReplicas=0)
    apply(plane, manifest, deployment("asleep", "assistant", 0))

    def live() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            plane.kubectl("get", "deployment", "assistant-worker", "--namespace=asleep", "--output=json")
        )
        return found

    stale = live()
    assert await steering.wake(model(manifest), stale, 1) is None
    clock.now += 59
    assert await steering.wake(model(manifest), stale, 1) is None
    plane.kubectl("annotate", "deployment", "assistant-worker", "somebody=writes", "--namespace=asleep")
    clock.now += 1
    assert await steering.wake(model(manifest), stale, 1) is None, "it has changed since it was seen"
    assert live()["spec"]["replicas"] == 0
    woken = await steering.wake(model(manifest), live(), 1)
    assert woken is not None and woken["spec"]["replicas"] == live()["spec"]["replicas"] == 1
    assert await steering.wake(model(manifest), live(), 1) is None


async def test_a_pool_that_was_put_to_zero_by_hand_or_has_no_work_stays(
    plane: ControlPlane, steering: Steering, clock: Clock
) -> None:
    plane.kubectl("create", "namespace", "paused")
    manifest = worker("paused", "assistant", minReplicas=1)
    apply(plane, manifest, deployment("paused", "assistant", 0))
    text = plane.kubectl("get", "deployment", "assistant-worker", "--namespace=paused", "--output=json")
    for queued, zero in ((1, 1), (0, 0)):
        changed = worker("paused", "assistant", minReplicas=zero)
        assert await steering.wake(model(changed), json.loads(text), queued) is None
        clock.now += 600
        assert await steering.wake(model(changed), json.loads(text), queued) is None
