"""Real load, the real HPA controller, metrics-server: pools grow and shrink as the guide's AutoScaler says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.cluster.convoy import Convoy
from tests.cluster.kube import ENDED, Kube, Object, graph, run_of, step, worker
from tests.cluster.ledger import LedgerServer, ledger_server
from tests.cluster.release import Release
from tests.cluster.victims import ready_pods
from tests.cluster.watching import Replicas

COOLDOWN = 10


def pool(name: str, low: int, high: int, concurrency: int = 2, **more: Any) -> Object:
    scaling = {"minReplicas": low, "maxReplicas": high, "cooldownSeconds": COOLDOWN}
    return worker(name, scaling=scaling, concurrency=concurrency, **more)


def flood(name: str, action: str, ms: int, items: int, at_once: int) -> Object:
    many = {"items": "${input.numbers}", "as": "n", "maxParallel": at_once}
    task = step("each", action, worker=name, forEach=many, given={"ms": ms}, retry={"lostLimit": 20})
    return graph(f"flood-{name}", [task], maxParallel=at_once)


def begin(space: Kube, name: str, items: int, run: str = "run") -> str:
    space.until_condition("taskgraph", f"flood-{name}", "WorkersReady")
    return space.create(run_of(f"{name}-{run}", f"flood-{name}", input={"numbers": list(range(items))}))


def pods(space: Kube) -> set[str]:
    return {pod["metadata"]["name"] for pod in space.all("pods", "--selector=arklex.ai/worker=busy")}


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
        status = space.until_phase("taskgraphrun", "wake-1", ENDED, patience=240)
    assert status["phase"] == "Succeeded", status
    assert seen.counts[:3] == [1, 0, 1], seen.changes
    document = release.document(space.namespace, status["runId"])
    pod = space.get("pod", document["tasks"]["a"]["output"]["pod"]) or {}
    asked, started, ended = map(
        datetime.fromisoformat, (status["startTime"], pod["status"]["startTime"], document["finishedAt"])
    )
    print(f"from zero: {(ended - started).total_seconds():.1f} s from the pod's start to the first result", end=", ")
    print(f"{(ended - asked).total_seconds():.1f} s from the run's start")


def held(space: Kube, ledger: LedgerServer, tasks: int) -> set[str]:
    """Begin a run of effects that end when the ledger says so; returns the pods that are in the middle of one."""
    each = [step(f"h{n}", "effect", worker="busy", given={"held": True}, retry={"lostLimit": 20}) for n in range(tasks)]
    space.apply(graph("held", each))
    space.until_condition("taskgraph", "held", "WorkersReady")
    space.create(run_of("held", "held"))
    space.until(lambda: sum(ledger.held().values()) == tasks, "the effects are held")
    return set(ledger.held())


def shrink(space: Kube, to: int) -> None:
    """Let the pool be no larger, and wait until it is not."""
    space.patch("worker", "busy", {"spec": {"scaling": {"minReplicas": to, "maxReplicas": to}}})
    space.until(lambda: (space.get("deployment", "busy-worker") or {})["spec"]["replicas"] == to, "fewer are wanted")


def test_shrinking_and_rolling_out_under_load_repeat_nothing(release: Release, space: Kube, tmp_path: Path) -> None:
    """From six pods to four while all work, to the two that work while others are idle, and a new template while both work."""
    with ledger_server(tmp_path / "ledger", release.node_address) as ledger:
        six = pool("busy", 6, 6, concurrency=1)
        six["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "LEDGER", "value": ledger.url}]
        space.apply(six, flood("busy", "sleep", 700, 120, 8))
        space.until(lambda: space.status("worker", "busy").get("readyReplicas") == 6, "six pods")
        runs = [begin(space, "busy", 120)]
        space.until_phase("taskgraphrun", runs[0], ["Running"])
        shrink(space, 4)
        space.until_phase("taskgraphrun", runs[0], ENDED, patience=300)

        working = held(space, ledger, 2)
        assert len(working) == 2, "one pod holds both"
        shrink(space, 2)
        space.until(lambda: len(pods(space)) == 2, "the others are gone")
        assert pods(space) == working, "idle pods go first"
        ledger.free.set()

        runs += ["held", begin(space, "busy", 60, "again")]
        space.patch("worker", "busy", {"spec": {"template": {"metadata": {"annotations": {"rolled": "out"}}}}})
        statuses = [space.until_phase("taskgraphrun", run, ENDED, patience=300) for run in runs]
        space.until(lambda: not working & pods(space), "the old pods are gone")
    assert [status["phase"] for status in statuses] == ["Succeeded"] * 3, statuses
    attempts = [release.attempts(space.namespace, status["runId"]) for status in statuses]
    assert attempts == [{"each": 120}, {"h0": 1, "h1": 1}, {"each": 60}], "an attempt was repeated"


@contextmanager
def bounds(release: Release) -> Iterator[Callable[[int], None]]:
    """How many replicas the runtime's HPA must keep; as the chart has it at the end."""
    name, selector = f"{release.fullname}-runtime", release.selects("runtime")
    chosen = release.values["runtime"]["autoscaling"]

    def keep(count: int) -> None:
        release.kube.patch("hpa", name, {"spec": {"minReplicas": count, "maxReplicas": count}})
        release.kube.until(lambda: len(release.kube.all("pods", f"--selector={selector}")) == count, f"{count} replicas")
        release.kube.until(lambda: len(ready_pods(release.kube, selector)) == count, f"{count} ready replicas")

    yield keep
    release.kube.patch("hpa", name, {"spec": {key: chosen[key] for key in ("minReplicas", "maxReplicas")}})


def owners(release: Release) -> set[str]:
    """The replicas that own runs which have not ended."""
    assert release.postgres is not None
    found = release.postgres.psql("SELECT DISTINCT owner FROM runs WHERE finished_at IS NULL AND owner IS NOT NULL", "arklex")
    return set(found.splitlines())


def test_replicas_of_the_runtime_come_and_go_and_repeat_nothing(release: Release, space: Kube, tmp_path: Path) -> None:
    """The HPA takes one replica more and one less; whichever goes has runs, and hands them over."""
    with ledger_server(tmp_path / "ledger", release.node_address) as ledger, bounds(release) as keep:
        convoy = Convoy(space, ledger, release.journal_url)
        convoy.prepare()
        keep(2)
        convoy.set_out(8, ms=1000)
        keep(3)

        def spread() -> bool:
            convoy.keep_up(12, ms=1500)
            return len(owners(release)) == 3

        space.until(spread, "each of three replicas owns runs")
        keep(2)
        found = convoy.end()
    assert found.interrupted == 0, "an attempt was interrupted"
    tasks = [task for document in found.documents.values() for task in document["tasks"].values()]
    assert {task["attempts"] for task in tasks} == {1}
