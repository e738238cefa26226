"""Every pod of the chart, hooks included, stays within Pod Security "restricted", and somewhat further."""

from __future__ import annotations

import re

import pytest

from tests.helm.charts import Object, case, cases, pod_specs, render

TOKENS = {"operator", "metrics", "runtime", "hooks"}
IMAGE = re.compile(r"^[a-z0-9][-a-z0-9._/]*(:[0-9]+/[-a-z0-9._/]+)?(:[\w][\w.-]*|@sha256:[0-9a-f]{64})$")
POD_KEYS = {
    "affinity",
    "automountServiceAccountToken",
    "containers",
    "enableServiceLinks",
    "imagePullSecrets",
    "nodeSelector",
    "priorityClassName",
    "restartPolicy",
    "securityContext",
    "serviceAccountName",
    "terminationGracePeriodSeconds",
    "tolerations",
    "topologySpreadConstraints",
    "volumes",
}


def _broken(spec: Object) -> list[str]:
    """What the profile, or this project, has against a pod."""
    context = spec["securityContext"]
    broken = [f"unexpected {name}" for name in set(spec) - POD_KEYS]
    if context.get("runAsNonRoot") is not True or context.get("runAsUser", 1) == 0:
        broken.append("root")
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        broken.append("seccomp")
    if spec["enableServiceLinks"] is not False:
        broken.append("service links")
    for volume in spec["volumes"]:
        if not set(volume) & {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}:
            broken.append(f"volume {volume['name']}")
    for container in spec["containers"]:
        broken += _broken_container(container)
    return broken


def _broken_container(container: Object) -> list[str]:
    wanted = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
    }
    broken = [] if container["securityContext"] == wanted else ["container's securityContext"]
    if not IMAGE.match(container["image"]):
        broken.append(f"image {container['image']} is not pinned")
    resources = container["resources"]
    if not (resources["requests"].keys() >= {"cpu", "memory"} and "memory" in resources["limits"]):
        broken.append("resources")
    if "/tmp" not in {mount["mountPath"] for mount in container["volumeMounts"]}:
        broken.append("no /tmp")
    if any("hostPort" in port for port in container.get("ports", [])):
        broken.append("host port")
    return broken


@pytest.mark.parametrize("name", cases())
def test_every_pod_is_restricted(name: str) -> None:
    specs = pod_specs(case(name))
    assert len(specs) >= 5
    assert {at: broken for at, spec in specs.items() if (broken := _broken(spec))} == {}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"hostNetwork": True}, "unexpected hostNetwork"),
        ({"securityContext": {"runAsNonRoot": True}}, "seccomp"),
        ({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}, "root"),
        ({"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}, "volume host"),
    ],
)
def test_the_check_finds_what_is_wrong(change: Object, word: str) -> None:
    spec = next(iter(pod_specs(case("default")).values()))
    assert word in _broken({**spec, **change})


@pytest.mark.parametrize("name", cases())
def test_a_token_is_mounted_only_where_one_is_used(name: str) -> None:
    for at, spec in pod_specs(case(name)).items():
        (container,) = spec["containers"]
        assert spec["automountServiceAccountToken"] is (container["name"] in TOKENS), at


def test_each_process_has_an_account_of_its_own() -> None:
    accounts = {at: spec.get("serviceAccountName") for at, spec in pod_specs(case("default")).items()}
    named = [name for name in accounts.values() if name]
    assert len(named) == len(set(named)) == 6


@pytest.mark.parametrize("name", cases())
def test_secrets_are_files_of_named_secrets_and_no_object_holds_one(name: str) -> None:
    objects = case(name)
    assert "Secret" not in {found["kind"] for found in objects}
    for spec in pod_specs(objects).values():
        for container in spec["containers"]:
            names = {
                variable["name"] for variable in container.get("env", []) if "secretKeyRef" in variable.get("valueFrom", {})
            }
            assert not names


def test_a_policy_isolates_every_pod() -> None:
    objects = case("default")
    policies = [found["spec"] for found in objects if found["kind"] == "NetworkPolicy"]
    assert all(policy["policyTypes"] == ["Ingress", "Egress"] for policy in policies)
    for found in objects:
        template = found if found["kind"] == "Pod" else found.get("spec", {}).get("template")
        if template:
            labels = template["metadata"]["labels"].items()
            assert [policy for policy in policies if policy["podSelector"]["matchLabels"].items() <= labels], found["metadata"]


def test_what_each_pod_is_told_is_what_was_agreed() -> None:
    """The names of decision 0006."""
    told = {
        container["name"]: {variable["name"] for variable in container.get("env", [])}
        for spec in pod_specs(case("default")).values()
        for container in spec["containers"]
        if container["name"] != "hooks"
    }
    both = {
        "POD_NAME",
        "POD_NAMESPACE",
        "ARKLEX_NAMESPACES",
        "ARKLEX_REDIS_URL",
        "ARKLEX_REDIS_PASSWORD_FILE",
        "ARKLEX_LEASE_SECONDS",
    }
    assert told["runtime"] == both | {
        "ARKLEX_JOURNAL_URL", "ARKLEX_DOOR_TOKEN_FILE", "ARKLEX_RETENTION_SUCCEEDED", "ARKLEX_RETENTION_FAILED",
        "ARKLEX_WRITES_PER_SECOND",
    }  # fmt: skip
    assert told["operator"] == both | {
        "ARKLEX_WORKER_REDIS_URL", "ARKLEX_REDIS_ACL", "ARKLEX_IMAGES", "ARKLEX_IMAGE_PULL_POLICY", "ARKLEX_API_SERVER_CIDRS",
        "ARKLEX_LEADER_LEASE", "ARKLEX_MAX_ROLLING",
    }  # fmt: skip
    assert both <= told["metrics"]


def test_what_cannot_be_changed_later_never_changes() -> None:
    """Selectors, serviceName, volumeClaimTemplates: an upgrade that changes one is refused by the API server."""
    kept: dict[str, object] = {}
    for values in ((), ("--values=tests/helm/cases/placed.yaml",), ("--set=redis.persistence.size=99Gi,redis.acl=off",)):
        for found in render(*values, "--set=journal.type=sqlite,runtime.replicas=1"):
            if found["kind"] in ("Deployment", "StatefulSet"):
                spec = found["spec"]
                fixed = (
                    spec["selector"],
                    spec.get("serviceName"),
                    spec.get("volumeClaimTemplates"),
                    spec.get("podManagementPolicy"),
                )
                assert kept.setdefault(found["metadata"]["name"], fixed) == fixed
    assert len(kept) == 4
