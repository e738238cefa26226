"""The admission policies: what the author of a Worker may ask for, and what the operator may do."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml

from arklex_operator.manifests.template import forbidden
from tests.controlplane import ControlPlane
from tests.helm.charts import case, one

pytestmark = pytest.mark.apiserver

GOOD: dict[str, Any] = {
    "metadata": {"labels": {"team": "a"}, "annotations": {"example.com/scrape": "true"}},
    "spec": {
        "containers": [
            {
                "name": "worker",
                "image": "example.com/mine:1",
                "env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "key"}}}],
                "envFrom": [{"secretRef": {"name": "mine"}}, {"configMapRef": {"name": "mine"}}],
                "ports": [{"containerPort": 8080}],
                "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
                "resources": {"limits": {"memory": "1Gi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "runAsUser": 1000,
                    "seccompProfile": {"type": "Localhost", "localhostProfile": "chromium.json"},
                },
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }
        ],
        "initContainers": [{"name": "prepare", "image": "example.com/prepare:1"}],
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"pool": "gpu"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "affinity": {},
        "topologySpreadConstraints": [],
        "priorityClassName": "high",
        "runtimeClassName": "gvisor",
        "securityContext": {"fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [
            {"name": "data", "emptyDir": {}},
            {"name": "claim", "persistentVolumeClaim": {"claimName": "mine"}},
            {"name": "secret", "secret": {"secretName": "mine"}},
            {"name": "both", "projected": {"sources": [{"secret": {"name": "mine"}}, {"configMap": {"name": "mine"}}]}},
        ],
    },
}


def _container(**fields: object) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "worker", **fields}]}}


def _context(**fields: object) -> dict[str, Any]:
    return _container(securityContext=fields)


def _volume(**fields: object) -> dict[str, Any]:
    return {"spec": {"volumes": [{"name": "v", **fields}]}}


def _mount(**fields: object) -> dict[str, Any]:
    return _container(volumeMounts=[fields])


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "another service account": ({"spec": {"serviceAccountName": "admin"}}, "may not set serviceAccountName"),
    "its old name": ({"spec": {"serviceAccount": "admin"}}, "may not set serviceAccount"),
    "a token": ({"spec": {"automountServiceAccountToken": True}}, "may not set automountServiceAccountToken"),
    "the host's network": ({"spec": {"hostNetwork": True}}, "may not set hostNetwork"),
    "the host's processes": ({"spec": {"hostPID": True}}, "may not set hostPID"),
    "a node": ({"spec": {"nodeName": "n1"}}, "may not set nodeName"),
    "the drain's length": ({"spec": {"terminationGracePeriodSeconds": 1}}, "may not set terminationGracePeriodSeconds"),
    "shared processes": ({"spec": {"shareProcessNamespace": True}}, "may not set shareProcessNamespace"),
    "ephemeral containers": ({"spec": {"ephemeralContainers": []}}, "may not set ephemeralContainers"),
    "the system's priority": ({"spec": {"priorityClassName": "system-node-critical"}}, "priorityClassName"),
    "the host's names": ({"spec": {"dnsPolicy": "ClusterFirstWithHostNet"}}, "dnsPolicy"),
    "the host's files": (_volume(hostPath={"path": "/"}), "a volume of"),
    "another driver": (_volume(csi={"driver": "x"}), "a volume of"),
    "a projected token": (_volume(projected={"sources": [{"serviceAccountToken": {"path": "t"}}]}), "a projected volume"),
    "the connection": (_volume(secret={"secretName": "arklex-connection"}), "arklex-connection"),
    "the connection, projected": (
        _volume(projected={"sources": [{"secret": {"name": "arklex-connection"}}]}),
        "arklex-connection",
    ),
    "the connection, in the environment": (
        _container(env=[{"name": "P", "valueFrom": {"secretKeyRef": {"name": "arklex-connection", "key": "password"}}}]),
        "arklex-connection",
    ),
    "the connection, all of it": (_container(envFrom=[{"secretRef": {"name": "arklex-connection"}}]), "arklex-connection"),
    "privileges": (_context(privileged=True), "restricted"),
    "more privileges": (_context(allowPrivilegeEscalation=True), "restricted"),
    "capabilities": (_context(capabilities={"add": ["NET_RAW"]}), "restricted"),
    "capabilities, some dropped": (_context(capabilities={"drop": ["NET_RAW"]}), "restricted"),
    "the operator's volume": (_volume(secret={"secretName": "mine"}, name="connection"), "the operator's"),
    "a secret's volume": (_volume(secret={"secretName": "mine"}, name="secret-openai"), "the operator's"),
    "another /tmp": (_volume(secret={"secretName": "mine"}, name="tmp"), "the operator's emptyDir"),
    "the connection's mount": (_mount(name="connection", mountPath="/c"), "a volumeMount"),
    "a secret's mount": (_mount(name="secret-openai", mountPath="/c"), "a volumeMount"),
    "a mount over ours": (_mount(name="v", mountPath="/var/run/arklex/connection"), "a volumeMount"),
    "a mount over all of ours": (_mount(name="v", mountPath="/var/run/"), "a volumeMount"),
    "a mount over ours by its other name": (_mount(name="v", mountPath="/run/secrets"), "a volumeMount"),
    "mounts of the host's": (_mount(name="v", mountPath="/v", mountPropagation="Bidirectional"), "propagate"),
    "a variable of ours": (_container(env=[{"name": "ARKLEX_WORKER_SPEC", "value": "{}"}]), "set by the operator alone"),
    "root": (_context(runAsUser=0), "restricted"),
    "root, maybe": (_context(runAsNonRoot=False), "restricted"),
    "root of the pod": ({"spec": {"securityContext": {"runAsUser": 0}}}, "restricted"),
    "no seccomp": (_context(seccompProfile={"type": "Unconfined"}), "restricted"),
    "an unmasked /proc": (_context(procMount="Unmasked"), "procMount"),
    "SELinux": (_context(seLinuxOptions={"type": "spc_t"}), "SELinux"),
    "sysctls": ({"spec": {"securityContext": {"sysctls": []}}}, "sysctls"),
    "an init container's": (
        {"spec": {"initContainers": [{"name": "i", "securityContext": {"privileged": True}}]}},
        "restricted",
    ),
    "a host's port": (_container(ports=[{"containerPort": 80, "hostPort": 80}]), "hostPort"),
    "a probe of another host": (_container(livenessProbe={"httpGet": {"host": "169.254.169.254", "port": 80}}), "probe"),
    "a hook": (_container(lifecycle={"preStop": {"exec": {"command": ["sleep"]}}}), "a container of"),
    "a device": (_container(volumeDevices=[]), "a container of"),
    "our labels": ({"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}, "app.kubernetes.io"),
    "the deletion cost": (
        {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "9"}}},
        "controller.kubernetes.io",
    ),
    "AppArmor off": (
        {"metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/worker": "unconfined"}}},
        "AppArmor",
    ),
    "another name": ({"metadata": {"name": "x"}}, "annotations and labels only"),
    "anything else": ({"status": {}}, "metadata and spec only"),
    "no list where one belongs": ({"spec": {"containers": "x"}}, "worker-templates"),
}


def _worker(name: str, template: dict[str, Any] | None = None, namespace: str = "team-a", **spec: object) -> str:
    spec = {"type": "custom", "config": {"handler": "m:handle"}, **({"template": template} if template else {}), **spec}
    metadata = {"name": name, "namespace": namespace}
    return yaml.safe_dump({"apiVersion": "arklex.ai/v1alpha1", "kind": "Worker", "metadata": metadata, "spec": spec})


def test_a_template_may_ask_for_all_that_is_harmless(plane: ControlPlane) -> None:
    _try(plane, _worker("good", GOOD))
    _try(plane, _worker("plain"))


@pytest.mark.parametrize("name", BAD)
def test_a_template_may_not_ask_for(plane: ControlPlane, name: str) -> None:
    template, words = BAD[name]
    with pytest.raises(AssertionError, match="denied request") as error:
        _try(plane, _worker("bad", template))
    assert words in str(error.value)


@pytest.mark.parametrize("name", BAD)
def test_the_reconciler_says_the_same_where_the_policy_is_not_installed(name: str) -> None:
    assert forbidden(BAD[name][0])
    assert forbidden(GOOD) == []


def _llm(secret: str) -> dict[str, Any]:
    return {"type": "llm", "config": {}, "llm": {"model": "m", "apiKeySecretRef": {"name": secret, "key": "password"}}}


def test_a_worker_beside_the_operator_reads_none_of_its_secrets(plane: ControlPlane) -> None:
    _try(plane, _worker("mine", namespace="arklex-system", **_llm("openai")))
    _try(plane, _worker("same-name-elsewhere", namespace="team-a", **_llm("arklex-redis")))
    for secret in ("arklex-redis", "arklex-door", "arklex-metrics-tls", "arklex-connection"):
        with pytest.raises(AssertionError, match="may not refer to the Secrets"):
            _try(plane, _worker("thief", namespace="arklex-system", **_llm(secret)))


def test_nor_does_a_graphs_tool(plane: ControlPlane) -> None:
    def graph(secret: str) -> str:
        tool = {"name": "t", "http": {"url": "https://x", "auth": {"secretRef": {"name": secret, "key": "token"}}}}
        spec = {"tools": [tool], "tasks": [{"name": "a", "value": 1}]}
        metadata = {"name": "g", "namespace": "arklex-system"}
        return yaml.safe_dump({"apiVersion": "arklex.ai/v1alpha1", "kind": "TaskGraph", "metadata": metadata, "spec": spec})

    _try(plane, graph("tickets"))
    for secret in ("arklex-redis", "arklex-connection"):
        with pytest.raises(AssertionError, match="may not refer to the Secrets"):
            _try(plane, graph(secret))


def test_a_worker_from_before_the_policy_can_still_be_labelled(plane: ControlPlane) -> None:
    """Only what changes a spec is judged: finalizers, labels and status of older objects stay writable."""
    plane.kubectl("delete", "validatingadmissionpolicybinding", "arklex-worker-templates")
    try:
        _until_taken(plane, _worker("old", {"spec": {"hostNetwork": True}}))
    finally:
        binding = [one(case("default"), "ValidatingAdmissionPolicyBinding", "arklex-worker-templates")]
        plane.kubectl("apply", "--server-side", "--filename=-", stdin=yaml.safe_dump_all(binding))
    _until_refused(plane, _worker("new", {"spec": {"hostNetwork": True}}))
    plane.kubectl("label", "worker/old", "team=a", "--namespace=team-a")
    plane.kubectl("delete", "worker/old", "--namespace=team-a")


def _try(plane: ControlPlane, text: str) -> None:
    plane.kubectl("create", "--dry-run=server", "--filename=-", stdin=text)


def _until_taken(plane: ControlPlane, text: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            plane.kubectl("create", "--filename=-", stdin=text)
        except AssertionError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            return


def _until_refused(plane: ControlPlane, text: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            _try(plane, text)
        except AssertionError:
            return
        assert time.monotonic() < deadline
        time.sleep(0.2)
