"""Uninstall, reinstall, and the release's own namespace deleted without helm. Last in the alphabet: it ends the release."""

from __future__ import annotations

from tests.cluster.kube import Kube, graph, step, worker
from tests.cluster.release import Release

APISERVICE = "v1beta1.external.metrics.k8s.io"


def test_it_goes_and_comes_back_and_its_namespace_goes_without_helm(release: Release, space: Kube) -> None:
    space.apply(worker("probe"), graph("kept", [step("a")], run={"query": "1"}))
    space.until_phase("taskgraph", "kept", ["Succeeded"])

    release.uninstall()
    ours = f"--selector=app.kubernetes.io/instance={release.name}"
    release.kube.until(lambda: not release.kube.all("pods", ours), "every pod of the release has ended")
    assert release.kube.get("apiservice", APISERVICE) is None
    assert space.status("taskgraph", "kept")["phase"] == "Succeeded", "CRDs and objects are kept"
    assert space.get("deployment", "probe-worker") is not None, "a pool goes on without its operator"

    release.install()
    space.patch("taskgraph", "kept", {"spec": {"run": {"query": "2"}}})
    space.until(lambda: space.status("taskgraph", "kept").get("runs", {}).get("succeeded") == 2, "it runs again")
    space.until(lambda: release.kube.get("apiservice", APISERVICE), "the metrics API is registered again")

    release.kube("delete", "namespace", release.namespace, "--wait=true", "--timeout=170s", patience=200)
    assert release.kube.get("apiservice", APISERVICE) is None
    space("delete", "namespace", space.namespace, "--wait=true", "--timeout=150s", patience=180)
