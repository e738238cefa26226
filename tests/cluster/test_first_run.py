"""What a newcomer does first: apply a graph and its Workers, look, wait, describe."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tests.cluster.kube import Kube, Object, graph, run_of, step, worker
from tests.cluster.target import HELLO, Target

EXAMPLE = Path(__file__).parents[2] / "examples/hello"


def hello(space: Kube, image: str | None) -> tuple[Object, Object]:
    """The Worker, its handler in an image where there is one and else in a ConfigMap, and the TaskGraph of examples/hello."""
    pool, asked = (dict(one) for one in yaml.safe_load_all((EXAMPLE / "hello.yaml").read_text()))
    pool["spec"]["scaling"] = {"minReplicas": 1}
    if image:
        pool["spec"]["template"] = {"spec": {"containers": [{"name": "worker", "image": image}]}}
    else:
        space("create", "configmap", "hello-handlers", f"--from-file={EXAMPLE}")
    return pool, asked


def test_applied_graph_runs_and_kubectl_shows_it(space: Kube, target: Target) -> None:
    image = target.images.get(HELLO)
    space.apply(*hello(space, image))
    assert "condition met" in space("wait", "--for=condition=Completed", "taskgraph/hello", "--timeout=180s", patience=200)
    status = space.until_phase("taskgraph", "hello", ["Succeeded", "Failed"])
    assert status["phase"] == "Succeeded", json.dumps(status, indent=1)
    assert status["lastRun"]["output"].strip('"') == "Hello, World! Your name has 5 letters."
    assert status["lastRun"]["progress"] == "3/3" and status["runs"] == {"active": 0, "succeeded": 1, "failed": 0}
    pods = space.all("pods", "--selector=arklex.ai/worker=greeter")
    assert {pod["spec"]["containers"][0]["image"] for pod in pods} == {image or target.images["worker-custom"]}
    assert "condition met" in space("wait", "--for=jsonpath={.status.phase}=Succeeded", "tg/hello", "--timeout=10s")

    space.until(lambda: space.status("worker", "greeter").get("readyReplicas") == 1, "the pool's status")
    lines = space("get", "tg,tgr,wk").splitlines()
    headers = [line.split() for line in lines if line.startswith("NAME")]
    assert headers == [
        ["NAME", "STATUS", "PROGRESS", "LAST", "RUN", "DURATION", "ACTIVE", "AGE", "MESSAGE"],
        ["NAME", "GRAPH", "STATUS", "PROGRESS", "DURATION", "AGE", "MESSAGE"],
        ["NAME", "TYPE", "READY", "DESIRED", "LOAD", "QUEUED", "AGE"],
    ]
    row = next(line for line in lines if line.startswith("taskgraph.arklex.ai/hello"))
    assert row.split()[1:3] == ["Succeeded", "3/3"]
    pool = next(line for line in lines if line.startswith("worker.arklex.ai/greeter"))
    assert pool.split()[1:4] == ["custom", "1", "1"]

    described = space("describe", "taskgraph", "hello")
    assert "RunCreated" in described and "Succeeded" in described
    (run,) = space.all("taskgraphruns")
    name = run["metadata"]["name"]
    space.until(lambda: {"RunStarted", "RunSucceeded"} <= space.reasons(name), "the run's events")
    assert "ReplicaSet" not in described and "Traceback" not in described


def test_a_created_run_gets_its_input_and_another_queue_does_not_wait(space: Kube) -> None:
    space.apply(
        worker("probe"),
        graph("sum", [step("add", "echo", given={"n": "${input.n + 1}"})], output="${tasks.add.output.n}"),
    )
    space.until_condition("taskgraph", "sum", "WorkersReady")
    for n in range(5):
        space.create(run_of(f"sum-{n}", "sum", input={"n": n}))
    for n in range(5):
        status = space.until_phase("taskgraphrun", f"sum-{n}", ["Succeeded", "Failed"])
        assert (status["phase"], status["output"]) == ("Succeeded", str(n + 1))
    counts = space.until(
        lambda: (s := space.status("taskgraph", "sum")).get("runs", {}).get("succeeded") == 5 and s, "all counted"
    )
    assert counts["runs"] == {"active": 0, "succeeded": 5, "failed": 0}


def test_kubectl_explains_every_part(space: Kube) -> None:
    for path in ("taskgraph.spec.tasks.retry", "worker.spec.scaling", "taskgraphrun.spec", "taskgraph.status.lastRun"):
        text = space("explain", path)
        assert "DESCRIPTION" in text and "<no description>" not in text.split("FIELDS")[0], text
