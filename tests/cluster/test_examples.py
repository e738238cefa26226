"""Every example gives the same on the cluster as embedded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.kube import Kube, Object, run_of
from tests.cluster.release import Release
from tests.commands import Arklex
from tests.faults.checker import comparable

ROOT = Path(__file__).resolve().parents[2]
ENDED = ("Succeeded", "Failed", "Cancelled")


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
