"""What each service account may do on a real API server, and what the policies take from the operator's rights."""

from __future__ import annotations

import json

import pytest
import yaml

from arklex_operator.cluster.rbac import CLUSTER, SERVED, own
from arklex_runtime.kube.rights import RULES
from tests.controlplane import ControlPlane
from tests.helm.charts import Object, case, one
from tests.helm.rights import FILE, rights

pytestmark = pytest.mark.apiserver

LABELS = {"app.kubernetes.io/name": "arklex-worker", "app.kubernetes.io/managed-by": "arklex-operator"}
COST = "controller.kubernetes.io/pod-deletion-cost"


def test_each_account_may_do_what_the_golden_file_says(plane: ControlPlane) -> None:
    assert rights(plane) == FILE.read_text(encoding="utf-8")


def _rules(role: Object) -> list[Object]:
    return sorted(
        ({**rule, "verbs": sorted(rule["verbs"])} for rule in role["rules"]), key=lambda rule: json.dumps(rule, sort_keys=True)
    )


def test_the_runtimes_rights_are_those_its_code_lists() -> None:
    assert _rules(one(case("default"), "ClusterRole", "arklex-runtime")) == _rules({"rules": RULES})


def test_the_operators_rights_are_those_its_code_lists() -> None:
    objects = case("default")
    assert _rules(one(objects, "ClusterRole", "arklex-operator")) == _rules({"rules": SERVED})
    assert _rules(one(objects, "ClusterRole", "arklex-operator-source")) == _rules({"rules": CLUSTER})
    assert _rules(one(objects, "Role", "arklex-operator-self")) == _rules({"rules": own("arklex-operator")})
    for namespace in ("team-a", "team-b"):
        (role,) = [
            found
            for found in case("namespaced")
            if found["kind"] == "Role"
            and found["metadata"]["namespace"] == namespace
            and found["metadata"]["name"] == "arklex-operator"
        ]
        assert _rules(role) == _rules({"rules": SERVED})


def test_the_operator_reads_one_secret_of_a_tenant_and_makes_it_by_server_side_apply(plane: ControlPlane) -> None:
    operator = plane.service_account("arklex-system", "arklex-operator")
    plane.kubectl("create", "secret", "generic", "tenants-own", "--from-literal=key=value", "--namespace=team-a")
    with pytest.raises(AssertionError, match="Forbidden"):
        plane.kubectl("get", "secret", "tenants-own", "--namespace=team-a", kubeconfig=operator)
    with pytest.raises(AssertionError, match="Forbidden"):
        plane.kubectl("get", "secrets", "--namespace=team-a", kubeconfig=operator)
    metadata = {"name": "arklex-connection", "namespace": "team-a", "labels": LABELS}
    secret = yaml.safe_dump(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"username": "arklex-team-a"}}
    )
    for _ in range(2):
        plane.kubectl("apply", "--server-side", "--filename=-", stdin=secret, kubeconfig=operator)
    assert plane.kubectl("get", "secret", "arklex-connection", "--namespace=team-a", "--output=name", kubeconfig=operator)


def test_who_may_edit_a_namespace_may_edit_graphs_there_but_no_status(plane: ControlPlane) -> None:
    """The roles that the cluster's controllers add to its own view, edit and admin."""
    roles = {found["metadata"]["name"]: found for found in case("default") if found["kind"] == "ClusterRole"}
    assert roles["arklex-edit"]["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    assert roles["arklex-view"]["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-view"] == "true"
    user = plane.user("author")
    plane.kubectl("create", "rolebinding", "author", "--clusterrole=arklex-edit", "--user=author", "--namespace=team-a")
    ask = ("auth", "can-i", "create", "taskgraphs.arklex.ai")
    assert plane.kubectl(*ask, "--namespace=team-a", kubeconfig=user).strip() == "yes"
    for refused in (
        (*ask, "--namespace=team-b"),
        ("auth", "can-i", "patch", "taskgraphs.arklex.ai", "--subresource=status", "--namespace=team-a"),
    ):
        with pytest.raises(AssertionError):
            plane.kubectl(*refused, kubeconfig=user)


def _pod(name: str, labels: dict[str, str]) -> str:
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    container: Object = {
        "name": "worker",
        "image": "example.com/worker:1",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    metadata = {"name": name, "namespace": "team-a", "labels": labels, "annotations": {"kept": "yes"}}
    spec = {"containers": [container], "securityContext": security, "automountServiceAccountToken": False}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def test_of_a_workers_pod_the_operator_changes_the_deletion_cost_and_nothing_else(plane: ControlPlane) -> None:
    operator = plane.service_account("arklex-system", "arklex-operator")
    plane.kubectl("create", "--filename=-", stdin=_pod("mine", LABELS))
    plane.kubectl("create", "--filename=-", stdin=_pod("theirs", {}))
    annotate = ("annotate", "--overwrite", "--namespace=team-a")
    for cost in (f"{COST}=100", f"{COST}=1", f"{COST}-"):
        plane.kubectl(*annotate, "pod/mine", cost, kubeconfig=operator)
    plane.kubectl(*annotate, "pod/mine", "other=yes")
    refused = {
        ("pod/theirs", f"{COST}=1"): "pods of Workers only",
        ("pod/mine", "kept=no"): "pod-deletion-cost only",
        ("pod/mine", "kept-"): "pod-deletion-cost only",
        ("pod/mine", "new=yes"): "pod-deletion-cost only",
    }
    for arguments, words in refused.items():
        with pytest.raises(AssertionError, match=words):
            plane.kubectl(*annotate, *arguments, kubeconfig=operator)
    for patch in (
        '{"metadata": {"labels": {"app.kubernetes.io/name": "other"}}}',
        '{"metadata": {"finalizers": ["arklex.ai/stay"]}}',
        '{"spec": {"containers": [{"name": "worker", "image": "example.com/other:1"}]}}',
    ):
        with pytest.raises(AssertionError, match="annotations only"):
            plane.kubectl("patch", "pod", "mine", "--namespace=team-a", f"--patch={patch}", kubeconfig=operator)


def _deployment(name: str, labels: dict[str, str], account: str, token: bool = False) -> str:
    template = {
        "metadata": {"labels": LABELS},
        "spec": {
            "serviceAccountName": account,
            "automountServiceAccountToken": token,
            "containers": [{"name": "worker", "image": "example.com/worker:1"}],
        },
    }
    metadata = {"name": name, "namespace": "team-a", "labels": labels}
    spec = {"selector": {"matchLabels": LABELS}, "template": template}
    return yaml.safe_dump({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})


def test_the_operator_changes_only_its_own_and_gives_no_pod_rights(plane: ControlPlane) -> None:
    operator = plane.service_account("arklex-system", "arklex-operator")
    plane.kubectl("create", "--filename=-", stdin=_deployment("theirs", {}, "admin"))
    apply = ("apply", "--server-side", "--force-conflicts", "--filename=-")
    plane.kubectl(*apply, stdin=_deployment("echo-worker", LABELS, "echo-worker"), kubeconfig=operator)
    plane.kubectl(*apply, stdin=_deployment("echo-worker", LABELS, "echo-worker"), kubeconfig=operator)
    for text, words in {
        _deployment("new", {}, "new"): "only what carries its label",
        _deployment("theirs", LABELS, "theirs"): "only what carries its label",
        _deployment("echo-worker", LABELS, "admin"): "own service account",
        _deployment("echo-worker", LABELS, "echo-worker", token=True): "without a token",
    }.items():
        with pytest.raises(AssertionError, match=words):
            plane.kubectl(*apply, stdin=text, kubeconfig=operator)
    theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "arklex-connection", "namespace": "team-b"}}
    plane.kubectl("create", "--filename=-", stdin=yaml.safe_dump(theirs))
    with pytest.raises(AssertionError, match="only what carries its label"):
        plane.kubectl("delete", "secret", "arklex-connection", "--namespace=team-b", kubeconfig=operator)
