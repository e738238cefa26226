"""Real load, the real HPA controller, metrics-server: pools grow and shrink as the guide's AutoScaler says."""

from __future__ import annotations

from typing import Any

from tests.cluster.kube import Kube, Object, graph, run_of, step, worker
from tests.cluster.release import Release
from tests.cluster.watching import Replicas

COOLDOWN = 10
ENDED = ("Succeeded", "Failed", "Cancelled")


def pool(name: str, low: int, high: int, concurrency: int = 2, **more: Any) -> Object:
    scaling = {"minReplicas": low, "maxReplicas": high, "cooldownSeconds": COOLDOWN}
    return worker(name, scaling=scaling, concurrency=concurrency, **more)


def flood(name: str, action: str, ms: int, items: int, at_once: int) -> Object:
    many = {"items": "${input.numbers}", "as": "n", "maxParallel": at_once}
    task = step("each", action, worker=name, forEach=many, given={"ms": ms}, retry={"lostLimit": 20})
    return graph(f"flood-{name}", [task], maxParallel=at_once)


def begin(space: Kube, name: str, items: int) -> str:
    space.until_condition("taskgraph", f"flood-{name}", "WorkersReady")
    return space.create(run_of(f"{name}-run", f"flood-{name}", input={"numbers": list(range(items))}))


def test_queue_pressure_adds_pods_and_idleness_removes_them(release: Release, space: Kube) -> None:
    """Waiting tasks cost no CPU: the load is the queue's alone."""
    space.apply(pool("queue", 1, 3), flood("queue", "sleep", 1500, 160, 40))
    space.until_condition("worker", "queue", "Available")
    space.until_condition("worker", "queue", "ScalingActive")
    with Replicas(space, "queue-worker") as seen:
        run = begin(space, "queue", 160)
        status = space.until_phase("taskgraphrun", run, ENDED, patience=300)
        space.until(lambda: seen.reached(3) and seen.counts[-1] == 1, "up to three pods, and back to one", patience=240)
    assert status["phase"] == "Succeeded", status
    assert set(seen.steps()) <= {1, -1}, seen.changes
    assert seen.counts[0] == 1 and max(seen.counts) == 3
    assert min(seen.pauses()[1:]) >= COOLDOWN - 2, seen.changes
    assert release.attempts(space.namespace, space.status("taskgraphrun", run)["runId"])["each"] == 160


def test_cpu_alone_adds_a_pod(space: Kube) -> None:
    """Half of the slots are busy: less than the threshold; the load comes from the CPU."""
    hot = pool("hot", 1, 2, concurrency=10)
    hot["spec"]["scaling"]["scaleUpThreshold"] = 0.6  # half of the load is the memory, which does not move
    container = hot["spec"]["template"]["spec"]["containers"][0]
    container["resources"] = {"requests": {"cpu": "50m"}, "limits": {"cpu": "100m", "memory": "128Mi"}}
    space.apply(hot, flood("hot", "spin", 400, 400, 4))
    space.until_condition("worker", "hot", "ScalingActive")
    with Replicas(space, "hot-worker") as seen:
        run = begin(space, "hot", 400)
        space.until(lambda: seen.reached(2), "a second pod for the CPU's sake", patience=240)
        space.patch("taskgraphrun", run, {"spec": {"cancel": True}})
        space.until_phase("taskgraphrun", run, ENDED)


def test_to_zero_and_back_by_one_task(release: Release, space: Kube) -> None:
    space.apply(pool("zero", 0, 2), graph("wake", [step("a", "environment", worker="zero")]))
    deployment = "zero-worker"
    space.until(lambda: (space.get("deployment", deployment) or {}).get("spec", {}).get("replicas") == 1, "it starts with one")
    with Replicas(space, deployment) as seen:
        space.until(lambda: seen.reached(0), "idle, it goes to zero", patience=240)
        space.until_condition("taskgraph", "wake", "WorkersReady")
        space.create(run_of("wake-1", "wake"))
        assert space.until_phase("taskgraphrun", "wake-1", ENDED, patience=240)["phase"] == "Succeeded"
    assert seen.counts[:3] == [1, 0, 1], seen.changes


def test_shrinking_and_rolling_out_under_load_repeat_nothing(release: Release, space: Kube) -> None:
    """Pods that work are spared, and those that go finish what they hold."""
    space.apply(pool("busy", 4, 4), flood("busy", "sleep", 1000, 120, 8))
    space.until(lambda: space.status("worker", "busy").get("readyReplicas") == 4, "four pods")
    run = begin(space, "busy", 120)
    space.until(lambda: space.status("worker", "busy").get("inFlight", 0) >= 1, "work is seen")
    space.patch("worker", "busy", {"spec": {"scaling": {"minReplicas": 1, "maxReplicas": 2}}})
    space.until(lambda: (space.get("deployment", "busy-worker") or {})["spec"]["replicas"] <= 2, "fewer are wanted")
    space.patch("worker", "busy", {"spec": {"template": {"metadata": {"annotations": {"rolled": "out"}}}}})
    status = space.until_phase("taskgraphrun", run, ENDED, patience=300)
    assert status["phase"] == "Succeeded", status
    assert release.attempts(space.namespace, status["runId"])["each"] == 120
