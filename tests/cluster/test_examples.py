"""Every example gives the same on the cluster as embedded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.kube import ENDED, Kube, Object, run_of
from tests.cluster.release import Release
from tests.cluster.target import Target
from tests.cluster.victims import kill_one
from tests.commands import Arklex
from tests.faults.checker import comparable

ROOT = Path(__file__).resolve().parents[2]


def apply(space: Kube, example: str) -> list[Object]:
    folder = ROOT / "examples" / example
    space("create", "configmap", f"{example}-handlers", f"--from-file={folder}")
    objects = [dict(one) for one in yaml.safe_load_all((folder / f"{example}.yaml").read_text())]
    for one in objects:
        if one["kind"] == "Worker":
            one["spec"].setdefault("scaling", {})["minReplicas"] = 1
        else:
            one["spec"].pop("run", None)
    space.apply(*objects)
    return objects


def on_cluster(release: Release, space: Kube, graph: str, given: dict[str, Any]) -> dict[str, Any]:
    space.until_condition("taskgraph", graph, "WorkersReady")
    space.create(run_of("once", graph, **given))
    status = space.until_phase("taskgraphrun", "once", ENDED)
    return comparable(release.document(space.namespace, status["runId"]))


@pytest.mark.parametrize(
    ("example", "graph", "given"),
    [
        ("hello", "hello", {"input": {"name": "Ada"}}),
        ("foreach", "foreach", {"input": {"words": ["tea", "milk", "fail", "coffee", "flaky"]}}),
        ("subgraph", "report", {}),
    ],
)
def test_it_gives_the_same(
    release: Release, space: Kube, tmp_path: Path, example: str, graph: str, given: dict[str, Any]
) -> None:
    apply(space, example)
    found = on_cluster(release, space, graph, given)
    more: list[str | Path] = ["--input", json.dumps(given["input"])] if given else []
    command: list[str | Path] = [
        "run",
        ROOT / f"examples/{example}/{example}.yaml",
        "--graph",
        graph,
        *more,
        "--output",
        "json",
    ]
    embedded = Arklex(tmp_path)(*command).works().json
    assert found == comparable(embedded)


def test_approval_is_decided_by_kubectl(release: Release, space: Kube) -> None:
    apply(space, "approval")
    space.until_condition("taskgraph", "approval", "WorkersReady")
    space.create(run_of("once", "approval", query="Refund order 17"))
    space.until(lambda: space.status("taskgraphrun", "once").get("approvals") == ["check"], "it asks")
    assert "ApprovalNeeded" in space.until(lambda: space.reasons("once"), "an event")
    decision = {"task": "check", "approved": True, "by": "ada", "data": {"limit": 50}}
    space.patch("taskgraphrun", "once", {"spec": {"approvals": [decision]}})
    status = space.until_phase("taskgraphrun", "once", ENDED)
    document = release.document(space.namespace, status["runId"])
    assert document["phase"] == "Succeeded" and document["tasks"]["check"]["output"]["by"] == "ada"
    assert document["tasks"]["audit"]["output"] == {"phase": "Succeeded", "check": "Succeeded"}


def test_crash_goes_on_in_another_pod(release: Release, space: Kube) -> None:
    """The worker of the task that hangs is killed; its first task does not run again."""
    apply(space, "crash")
    space.until_condition("taskgraph", "crash", "WorkersReady")
    space.create(run_of("once", "crash"))
    space.until(lambda: space.status("taskgraphrun", "once").get("progress") == "1/2", "the first task has ended")
    run_id = space.status("taskgraphrun", "once")["runId"]
    space.until(lambda: release.attempts(space.namespace, run_id)["index"] == 1, "the second one hangs")
    kill_one(space, "arklex.ai/worker=crawler")
    status = space.until_phase("taskgraphrun", "once", ENDED)
    document = release.document(space.namespace, status["runId"])
    assert document["output"] == "3 pages, index ran as attempt 2"
    assert {name: task["attempts"] for name, task in document["tasks"].items()} == {"fetch": 1, "index": 2}
    assert "WorkerLost" in space.reasons("once")


@pytest.mark.model
def test_docs_qa_answers_with_a_real_model(release: Release, space: Kube, target: Target, model_url: str) -> None:
    texts = ROOT / "tests/cluster/texts"
    space("create", "configmap", "docs-qa-handlers", f"--from-file={ROOT / 'examples/docs-qa/docs_qa.py'}")
    space("create", "configmap", "texts", f"--from-file={texts}")
    for one in yaml.safe_load_all((ROOT / "examples/docs-qa/docs-qa.yaml").read_text()):
        spec = one["spec"]
        spec.pop("run", None)
        if one["kind"] == "Worker":
            spec["scaling"] = {"minReplicas": 1}
        if spec.get("type") == "llm":
            spec |= {"llm": {"model": "smollm2", "baseUrl": model_url}, "egress": [{"cidr": f"{target.address}/32"}]}
        elif one["kind"] == "Worker":
            pod = spec["template"]["spec"]
            pod["containers"][0]["volumeMounts"].append({"name": "texts", "mountPath": "/texts"})
            pod["volumes"].append({"name": "texts", "configMap": {"name": "texts"}})
        space.apply(one)
    given = {"query": "How hot is water for green tea?", "input": {"folder": "/texts"}}
    found = on_cluster(release, space, "docs-qa", given)
    assert found["phase"] == "Succeeded" and found["output"]["answer"]
    assert not found["tasks"]["answer"].get("fallback")
    assert found["output"]["sources"][0]["section"] == "Tea"
    assert found["tasks"]["list"]["output"]["files"] == [{"path": "/texts/tea.md", "name": "tea.md"}]
