"""Where arklex-metrics takes the load from, and what it says when a source is silent. Real servers, a clock of our own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from arklex_operator.cluster.api import Api
from arklex_operator.cluster.queues import Queues, connect
from arklex_operator.metrics.loads import Loads, StaleError
from arklex_operator.metrics.observed import Observed
from tests.controlplane import ControlPlane
from tests.controlplane import control_plane as running_control_plane
from tests.pools import Work, apply, autoscaler, deployment, make_ready, pod, worker
from tests.services import RedisServer, redis_server

pytestmark = [pytest.mark.apiserver, pytest.mark.redis]

KEY = ("team", "assistant")

PODS_METRICS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: pods.metrics.k8s.io
  annotations: {api-approved.kubernetes.io: "unapproved, a test's stand-in for metrics-server's group"}
spec:
  group: metrics.k8s.io
  scope: Namespaced
  names: {kind: PodMetrics, plural: pods, singular: pod}
  versions:
  - name: v1beta1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """An API server of our own, since tests stop it and teach it another group; a pool of four pods, two of them ready."""
    with running_control_plane() as running:
        running.kubectl("create", "namespace", "team")
        running.kubectl("create", "serviceaccount", "default", "--namespace=team")
        manifest, pods = worker(*KEY, minReplicas=0, cooldownSeconds=60), ["pod-0", "pod-1"]
        apply(running, manifest, deployment(*KEY, 2), autoscaler(manifest))
        apply(running, *(pod(*KEY, name) for name in pods))
        make_ready(running, "team", *pods)
        yield running


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture
def work(own_redis: RedisServer) -> Iterator[Work]:
    opened = Work(own_redis.url, *KEY)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def loads(plane: ControlPlane, own_redis: RedisServer, clock: Clock) -> AsyncIterator[Loads]:
    api, client = await Api.connect(kubeconfig=plane.kubeconfig), connect(own_redis.url, None)
    yield Loads(Observed(api, ("team",), clock=clock), Queues(client, clock=clock), clock=clock)
    await client.aclose()
    await api.aclose()


async def test_nothing_is_known_before_a_worker_is_seen(loads: Loads, work: Work) -> None:
    assert await loads.ask(KEY) is None
    await loads.poll()
    assert await loads.ask(KEY) is not None
    assert loads.age().keys() == {"kubernetes", "redis", "metrics.k8s.io"}


async def test_a_silent_redis_is_named_after_half_a_minute(
    loads: Loads, work: Work, clock: Clock, own_redis: RedisServer
) -> None:
    work.queue(10)
    await loads.poll()
    own_redis.stop()
    clock.now += 30
    await loads.poll()
    told = await loads.ask(KEY)
    assert told is not None and told.value == 500
    clock.now += 1
    with pytest.raises(StaleError, match=r"^redis: last read 31 s ago \(.*onnect"):
        await loads.ask(KEY)
    own_redis.start()
    await loads.poll()
    assert await loads.ask(KEY) is not None


async def test_a_silent_api_server_is_named_too(loads: Loads, work: Work, clock: Clock, plane: ControlPlane) -> None:
    await loads.poll()
    plane.stop_apiserver()
    try:
        clock.now += 31
        await loads.poll()
        with pytest.raises(StaleError, match=r"^kubernetes: last read 31 s ago \(the API server does not"):
            await loads.ask(KEY)
    finally:
        plane.start_apiserver()
    await loads.poll()
    assert await loads.ask(KEY) is not None


async def test_an_answer_serves_for_a_second(loads: Loads, work: Work, clock: Clock) -> None:
    await loads.poll()
    work.queue(10)
    clock.now += 0.5
    first = await loads.ask(KEY)
    clock.now += 0.6
    second = await loads.ask(KEY)
    assert first is not None and second is not None
    assert (first.value, second.value) == (1, 500)


async def test_idleness_counts_from_the_last_work_seen_or_passed_by(loads: Loads, work: Work, clock: Clock) -> None:
    await loads.poll()
    clock.now += 59
    await loads.poll()
    told = await loads.ask(KEY)
    assert told is not None and told.reason == "Load"
    work.queue(1)
    work.finish()
    clock.now += 5
    await loads.poll()
    queue = loads.queues.of(KEY)
    assert queue is not None and (queue.queued, queue.in_flight, queue.idle_since) == (0, 0, clock.now)
    clock.now += 60
    await loads.poll()
    told = await loads.ask(KEY)
    assert told is not None and told.text == "0"
    work.queue(1)
    await loads.poll()
    clock.now += 5
    work.finish()
    await loads.poll()
    queue = loads.queues.of(KEY)
    assert queue is not None and queue.idle_since == clock.now, "it was busy when it was read before"


async def test_a_change_by_hand_is_seen_and_starts_the_cooldown(
    loads: Loads, work: Work, clock: Clock, plane: ControlPlane
) -> None:
    await loads.poll()
    plane.kubectl("scale", "deployment/assistant-worker", "--replicas=3", "--namespace=team")
    clock.now += 5
    told = await loads.ask(KEY)
    assert told is not None and told.reason == "Cooldown"
    plane.kubectl("scale", "deployment/assistant-worker", "--replicas=2", "--namespace=team")


async def test_a_worker_that_is_gone_is_forgotten(loads: Loads, work: Work, plane: ControlPlane) -> None:
    other = worker("team", "passing")
    apply(plane, other)
    await loads.poll()
    assert ("team", "passing") in loads.observed.seen
    plane.kubectl("delete", "worker", "passing", "--namespace=team")
    await loads.poll()
    assert ("team", "passing") not in loads.observed.seen
    assert loads.queues.of(("team", "passing")) is None


async def test_cpu_and_memory_count_once_metrics_are_served(
    loads: Loads, work: Work, clock: Clock, plane: ControlPlane, tmp_path: Path
) -> None:
    await loads.poll()
    assert loads.observed.samples_at is None
    plane.kubectl("apply", "--filename=-", stdin=PODS_METRICS)
    plane.kubectl("wait", "--for=condition=Established", "crd/pods.metrics.k8s.io", "--timeout=60s")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    sample = {
        "apiVersion": "metrics.k8s.io/v1beta1",
        "kind": "PodMetrics",
        "metadata": {"name": "pod-0", "namespace": "team", "labels": {"arklex.ai/worker": "assistant"}},
        "timestamp": now,
        "window": "15s",
        "containers": [{"name": "worker", "usage": {"cpu": "400m", "memory": "512Mi"}}],
    }
    path = tmp_path / "sample.json"
    path.write_text(json.dumps(sample))
    plane.kubectl("apply", f"--filename={path}")
    await loads.poll()
    told = await loads.ask(KEY)
    assert told is not None and told.value == 900


async def test_without_cpu_and_memory_a_pool_may_grow_but_not_shrink(
    loads: Loads, work: Work, clock: Clock, plane: ControlPlane
) -> None:
    await loads.poll()
    api = await Api.connect(kubeconfig=plane.user("blind"))
    try:
        blind = Loads(Observed(api, ("team",), clock=clock), loads.queues, clock=clock)
        await blind.poll()
        clock.now += 31
        await loads.poll()
        blind.observed.seen, blind.observed.samples_at = loads.observed.seen, clock.now - 31
        with pytest.raises(StaleError, match=r"^metrics.k8s.io: last read 31 s ago \(.*forbidden"):
            blind.told(KEY)
        work.queue(17)
        await loads.queues.read([KEY])
        told = blind.told(KEY)
        assert told is not None and told.value == 850
    finally:
        await api.aclose()
