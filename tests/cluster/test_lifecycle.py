"""Upgrade, uninstall and reinstall of a release, and what its absence does to namespaces."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cluster.kube import ENDED, Kube, graph, run_of, step, worker
from tests.cluster.release import Release


def test_an_upgrade_loses_and_repeats_nothing(release: Release, space: Kube, tmp_path: Path) -> None:
    tasks = [step("a", "sleep", given={"ms": 3000}), step("b", "environment", "a"), step("c", "sleep", "b", given={"ms": 3000})]
    space.apply(worker("probe"), graph("long", tasks))
    space.until_condition("taskgraph", "long", "WorkersReady")
    for n in range(4):
        space.create(run_of(f"r{n}", "long"))
        space.until_phase("taskgraphrun", f"r{n}", ["Running"])
    before = {pod["metadata"]["name"] for pod in release.kube.all("pods", f"--selector={release.selects('runtime')}")}
    release.install({"runtime": {"podAnnotations": {"rolled": "once"}}})
    for n in range(4):
        assert space.until_phase("taskgraphrun", f"r{n}", ENDED)["phase"] == "Succeeded"
        run_id = space.status("taskgraphrun", f"r{n}")["runId"]
        document = release.document(space.namespace, run_id)
        assert {task["attempts"] for task in document["tasks"].values()} == {1}, json.dumps(document, indent=1)

    def replaced() -> bool:
        pods = release.kube.all("pods", f"--selector={release.selects('runtime')}")
        return not before & {pod["metadata"]["name"] for pod in pods}

    release.kube.until(replaced, "the old replicas are gone")


def test_a_namespace_goes_while_no_operator_runs(release: Release, space: Kube) -> None:
    space.apply(worker("probe"), graph("held", [step("a", "sleep", given={"ms": 60_000})], run={}))
    space.until_phase("taskgraph", "held", ["Running"])
    deployment = f"{release.fullname}-operator"
    release.kube("scale", "deployment", deployment, "--replicas=0")
    selector = f"--selector={release.selects('operator')}"
    release.kube.until(lambda: not release.kube.all("pods", selector), "the operator is gone")
    try:
        release.kube("delete", "namespace", space.namespace, "--wait=true", "--timeout=150s", patience=180)
    finally:
        release.kube("scale", "deployment", deployment, "--replicas=2")
        release.kube("rollout", "status", "deployment", deployment, "--timeout=150s")


def test_rbac_is_what_the_golden_file_says(release: Release) -> None:
    def rights(account: str) -> set[str]:
        who = f"--as=system:serviceaccount:{release.namespace}:{account}"
        return {" ".join(line.split()) for line in release.kube("auth", "can-i", "--list", who, "--no-headers").splitlines()}

    anybody, lines = rights("nobody-in-particular"), []
    for component in ("operator", "metrics", "runtime"):
        lines += [f"# {component}", *sorted(rights(f"{release.fullname}-{component}") - anybody)]
    golden = Path(__file__).parent / "golden/rbac.txt"
    assert "\n".join(lines) + "\n" == golden.read_text()


def test_every_pod_is_restricted(release: Release, space: Kube) -> None:
    for name in (release.namespace, space.namespace):
        namespace = release.kube.get("namespace", name) or {}
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    space.apply(worker("probe"))
    space.until(lambda: space.status("worker", "probe").get("readyReplicas"), "a pod in a namespace that enforces it")


def test_helm_test_finds_it_well(release: Release) -> None:
    assert "Succeeded" in release.run("test", release.name, "--timeout=120s")
