"""Install, upgrade, uninstall, reinstall by helm on a real API server, without the hooks, whose pods nobody runs here."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.bed.programs import program
from tests.controlplane import ControlPlane, control_plane
from tests.helm.charts import CASES, CHART, NAMESPACE

pytestmark = pytest.mark.apiserver

Helm = Callable[..., str]

KEPT = ("customresourcedefinition.apiextensions.k8s.io/", "persistentvolumeclaim/")
EVERYTHING = (
    "customresourcedefinitions,clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,"
    "deployments,statefulsets,services,serviceaccounts,configmaps,roles,rolebindings,networkpolicies,poddisruptionbudgets,"
    "horizontalpodautoscalers,persistentvolumeclaims"
)


@pytest.fixture(scope="module")
def empty() -> Iterator[ControlPlane]:
    """Return an API server without anything of ours but the CRDs, as if kubectl had applied them."""
    with control_plane() as running:
        for name in ("team-a", "team-b"):
            running.kubectl("create", "namespace", name)
        yield running


@pytest.fixture
def helm(empty: ControlPlane, tmp_path: Path) -> Iterator[Helm]:
    """Return a function that runs helm in the release's namespace, and clear up after the test."""

    def run(*arguments: str, namespace: str = NAMESPACE, check: bool = True) -> str:
        command = [
            str(program("helm")),
            f"--kubeconfig={empty.kubeconfig}",
            f"--namespace={namespace}",
            *arguments,
            "--no-hooks",
        ]
        environment = {"HOME": str(tmp_path), "PATH": ""}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    yield run
    run("uninstall", "arklex", check=False)
    empty.kubectl("delete", "persistentvolumeclaims", "--all", f"--namespace={NAMESPACE}", "--wait=false")


def _ours(plane: ControlPlane) -> set[str]:
    told = plane.kubectl("get", EVERYTHING, "--all-namespaces", "--selector=app.kubernetes.io/name=arklex", "--output=name")
    return set(told.split())


def test_uninstalled_nothing_is_left_but_what_holds_data(empty: ControlPlane, helm: Helm) -> None:
    helm("install", "arklex", str(CHART), "--create-namespace", "--take-ownership")
    assert len(_ours(empty)) > 30
    helm("uninstall", "arklex")
    left = _ours(empty)
    assert {name for name in left if not name.startswith(KEPT)} == set()
    assert len(left) == 5, "three CRDs, the claims of the journal and of Redis"
    helm("install", "arklex", str(CHART))
    assert left < _ours(empty), "an installation of the same name takes them over"


@pytest.mark.parametrize("case", ["namespaced", "postgresql", "external-redis", "ephemeral"])
def test_an_installation_becomes_another_and_is_itself_again(empty: ControlPlane, helm: Helm, case: str) -> None:
    helm("install", "arklex", str(CHART), "--create-namespace", "--take-ownership")
    before = _ours(empty)
    helm("upgrade", "arklex", str(CHART), f"--values={CASES / f'{case}.yaml'}")
    assert _ours(empty) != before
    helm("upgrade", "arklex", str(CHART), "--reset-values")
    assert _ours(empty) == before


def test_an_upgrade_brings_crds_that_are_newer(empty: ControlPlane, helm: Helm) -> None:
    helm("install", "arklex", str(CHART), "--create-namespace", "--take-ownership")
    empty.kubectl(
        "patch", "crd", "workers.arklex.ai", "--type=json", '--patch=[{"op": "remove", "path": "/spec/names/shortNames"}]'
    )
    helm("upgrade", "arklex", str(CHART), "--force-conflicts")
    assert "wk" in empty.kubectl("get", "crd", "workers.arklex.ai", "--output=jsonpath={.spec.names.shortNames}")


def test_a_second_installation_needs_nothing_of_the_first(empty: ControlPlane, helm: Helm) -> None:
    helm("install", "arklex", str(CHART), "--create-namespace", "--take-ownership", "--set=watchNamespaces={team-a}")
    before = _ours(empty)
    values = "--set=cluster.enabled=false,watchNamespaces={team-b}"
    helm("install", "arklex", str(CHART), "--create-namespace", values, namespace="second")
    helm("uninstall", "arklex", namespace="second")
    assert {name for name in before if not name.startswith("persistent")} <= _ours(empty)
