"""The real HPA controller, told the load by the real arklex-metrics: steps, edges, cooldown, zero.

Times are those that the API server wrote down with each change. Nothing is asserted of how soon something happens.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.controlplane import FAST_HPA, ControlPlane
from tests.controlplane import control_plane as running_control_plane
from tests.metrics_api import MetricsServer, metrics_server
from tests.nodeless import Nodeless, nodeless
from tests.pools import Work, apply, autoscaler, deployment, worker
from tests.services import RedisServer, redis_server

pytestmark = [pytest.mark.apiserver, pytest.mark.redis]

COOLDOWN = 4
SYNCS = 4


@dataclass
class Scaled:
    """A pool under the HPA controller."""

    namespace: str
    nodes: Nodeless
    server: MetricsServer
    work: Work

    @property
    def steps(self) -> list[tuple[int, int]]:
        return [(each.before, each.after) for each in self.nodes.changes(self.namespace)]

    def becomes(self, replicas: int) -> None:
        """Wait for a number of pods."""
        self.nodes.until(lambda: self.nodes.replicas(self.namespace) == replicas, self.describe)

    def holds_at(self, value: str) -> None:
        """The controller sees ``value`` and leaves the pool alone, sync after sync."""
        self.nodes.until(lambda: self.nodes.current_value(self.namespace) == value, self.describe)
        before, asked = self.steps, self._asked()
        self.nodes.until(lambda: self._asked() >= asked + SYNCS, self.describe)
        assert self.steps == before
        assert self.nodes.current_value(self.namespace) == value

    def describe(self) -> str:
        hpa = self.nodes.hpa(self.namespace)
        return f"{self.namespace}: {self.nodes.changes(self.namespace)}\n{hpa['status']}\n{self.server.log[-2000:]}"

    def _asked(self) -> float:
        lines = self.server.admin("/metrics")[1].splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("arklex_metrics_requests_total"))


@pytest.fixture(scope="module")
def redis_of_module() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with running_control_plane(controllers=FAST_HPA) as running:
        yield running


@pytest.fixture(scope="module")
def server(plane: ControlPlane, redis_of_module: RedisServer) -> Iterator[MetricsServer]:
    with metrics_server(plane, redis_of_module.url) as running:
        yield running


@pytest.fixture(scope="module")
def nodes(plane: ControlPlane) -> Iterator[Nodeless]:
    with nodeless(plane) as running:
        yield running


Pool = Callable[..., Scaled]


@pytest.fixture
def pool(plane: ControlPlane, server: MetricsServer, nodes: Nodeless, redis_of_module: RedisServer) -> Iterator[Pool]:
    """Make a pool: ``pods`` pods of 250 slots, ``ready`` of them ready, ``busy`` tasks queued; ``scaling`` as in a manifest."""
    made: list[Scaled] = []

    def make(namespace: str, pods: int, busy: int, *, ready: int = 1000, tolerances: bool = True, **scaling: Any) -> Scaled:
        settings = {"minReplicas": 1, "maxReplicas": 10, "cooldownSeconds": COOLDOWN, **scaling}
        manifest = worker(namespace, "assistant", 250, **settings)
        plane.kubectl("create", "namespace", namespace)
        nodes.most_ready[namespace] = ready
        scaled = Scaled(namespace, nodes, server, Work(redis_of_module.url, namespace, "assistant"))
        made.append(scaled)
        scaled.work.set(busy)
        apply(plane, manifest, deployment(namespace, "assistant", pods))
        there = f"--for=jsonpath={{.status.readyReplicas}}={min(pods, ready)}"
        plane.kubectl("wait", f"--namespace={namespace}", "deployment/assistant-worker", there, "--timeout=90s")
        server.until(lambda: f'namespace="{namespace}"' in server.admin("/metrics")[1], "the Worker is seen")
        made_of = autoscaler(manifest)
        if not tolerances:
            for direction in made_of["spec"]["behavior"].values():
                del direction["tolerance"]
        apply(plane, made_of)
        return scaled

    yield make
    for each in made:
        plane.kubectl("delete", "hpa", "--all", f"--namespace={each.namespace}")
        each.work.close()


def test_edges_hold_and_a_thousandth_beyond_acts(pool: Pool) -> None:
    scaled = pool("edges", 4, 800)
    scaled.holds_at("800m")
    assert scaled.steps == []
    scaled.work.queue(1)
    scaled.becomes(5)
    scaled.work.set(250)
    scaled.holds_at("200m")
    assert scaled.steps == [(4, 5)]
    scaled.work.set(249)
    scaled.becomes(4)
    scaled.work.set(500)
    scaled.holds_at("500m")
    assert scaled.steps == [(4, 5), (5, 4)]


def test_a_narrow_band_shrinks_where_the_controllers_rounding_would_not(pool: Pool) -> None:
    scaled = pool("narrow", 4, 650, scaleUpThreshold=0.7, scaleDownThreshold=0.6)
    scaled.holds_at("650m")
    scaled.work.set(599)
    scaled.becomes(3)
    scaled.work.set(500)
    scaled.holds_at("667m")
    assert scaled.steps == [(4, 3)]


def test_where_tolerances_are_dropped_the_metric_keeps_the_edges(pool: Pool) -> None:
    scaled = pool("dropped", 4, 800, tolerances=False)
    scaled.holds_at("500m")
    assert scaled.steps == []
    scaled.work.queue(1)
    scaled.becomes(5)
    scaled.work.set(300)
    scaled.holds_at("500m")
    assert scaled.steps == [(4, 5)]


def test_both_directions_go_by_steps_and_share_the_cooldown(pool: Pool) -> None:
    scaled = pool("cooldown", 2, 10_000, maxReplicas=7, step=2)
    scaled.becomes(6)
    scaled.work.set(0)
    scaled.becomes(2)
    scaled.work.set(10_000)
    scaled.becomes(4)
    changes = scaled.nodes.changes(scaled.namespace)
    assert {abs(each.after - each.before) for each in changes} == {2}
    waits = [(later.at - earlier.at).total_seconds() for earlier, later in pairwise(changes)]
    assert min(waits) >= COOLDOWN, changes
    turned = [later for earlier, later in pairwise(changes) if (earlier.after > earlier.before) != (later.after > later.before)]
    assert len(turned) == 2


def test_one_of_six_ready_pods_does_not_shrink_the_pool(pool: Pool) -> None:
    scaled = pool("unready", 6, 225, ready=1)
    scaled.holds_at("800m")
    assert scaled.steps == []
    scaled.nodes.most_ready[scaled.namespace] = 6
    scaled.becomes(5)  # 225 of 1,500 slots
    assert scaled.steps[0] == (6, 5)


def test_to_zero_when_idle_and_back_by_one_step(pool: Pool) -> None:
    scaled = pool("zero", 1, 1, minReplicas=0, step=2)
    scaled.holds_at("4m")
    idle_from = datetime.now(UTC)
    scaled.work.set(0)
    scaled.becomes(0)
    (slept,) = scaled.nodes.changes(scaled.namespace)
    assert (slept.before, slept.after) == (1, 0)
    assert slept.at >= idle_from + timedelta(seconds=COOLDOWN)
    conditions = {each["type"]: each["status"] for each in scaled.nodes.hpa(scaled.namespace)["status"]["conditions"]}
    assert conditions["ScaledToZero"] == "True"
    scaled.work.queue(1)
    scaled.becomes(1)
    scaled.work.set(0)
    scaled.becomes(0)
    scaled.work.queue(10_000)
    scaled.becomes(6)
    assert scaled.steps[1:5] == [(0, 1), (1, 0), (0, 2), (2, 4)]
    woken = scaled.nodes.changes(scaled.namespace)
    assert (woken[2].at - woken[1].at).total_seconds() >= COOLDOWN
    assert (woken[4].at - woken[3].at).total_seconds() >= COOLDOWN


def test_without_a_value_the_pool_stays_as_it_is(
    plane: ControlPlane, pool: Pool, server: MetricsServer, redis_of_module: RedisServer
) -> None:
    scaled = pool("stale", 3, 375)
    scaled.holds_at("500m")
    with paused(redis_of_module):
        scaled.nodes.until(lambda: scaling_active(scaled)["status"] == "False", scaled.describe)
        condition = scaling_active(scaled)
        assert condition["reason"] == "FailedGetExternalMetric"
        assert "redis: last read" in condition["message"]
        assert scaled.steps == []
        assert "arklex_worker_load_stale" in server.admin("/metrics")[1]
    scaled.nodes.until(lambda: scaling_active(scaled)["status"] == "True", scaled.describe)
    assert scaled.steps == []


@contextmanager
def paused(server: RedisServer) -> Iterator[None]:
    """Redis neither answers nor hangs up."""
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


def scaling_active(scaled: Scaled) -> dict[str, str]:
    conditions = scaled.nodes.hpa(scaled.namespace)["status"].get("conditions") or ()
    return next((each for each in conditions if each["type"] == "ScalingActive"), {"status": "Unknown"})
