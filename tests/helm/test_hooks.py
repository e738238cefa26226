"""The chart's hooks, run as their Jobs run them: real processes with the Jobs' arguments and service accounts' rights."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import yaml

from tests.controlplane import ControlPlane
from tests.helm.charts import NAMESPACE, Object, one, render
from tests.services import RedisServer

pytestmark = [pytest.mark.apiserver, pytest.mark.redis]

ROOT = Path(__file__).parents[2]
API_SERVICE = "v1beta1.external.metrics.k8s.io"


@pytest.fixture(params=["--set=cleanup=true"])
def jobs(plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[list[Object]]:
    """Return the objects of a release, by default one with cleanup; the rights of its hooks are in force."""
    objects = render(request.param)
    rights, usual = _rights(objects), _rights(render())
    plane.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", stdin=rights)
    yield objects
    plane.kubectl("delete", "--filename=-", stdin=rights)
    plane.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", stdin=usual)


def _rights(objects: list[Object]) -> str:
    hooks = [found for found in objects if "helm.sh/hook" in found["metadata"].get("annotations", {})]
    return yaml.safe_dump_all([found for found in hooks if found["kind"] not in ("Job", "Pod")])


def _start(plane: ControlPlane, jobs: list[Object], hook: str, **environment: str) -> subprocess.Popen[str]:
    """Begin a Job's (or a Pod's) only container as a process of this machine."""
    name = f"arklex-hooks-{hook}"
    found = one(jobs, "Pod" if hook == "check" else "Job", name)
    pod = found["spec"] if hook == "check" else found["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    told = {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}
    command = [sys.executable, "-m", "arklex_operator.hooks"]
    kubeconfig = plane.service_account(NAMESPACE, pod["serviceAccountName"])
    paths = os.pathsep.join(str(ROOT / part) for part in ("crds", "operator"))
    return subprocess.Popen(
        [*command, f"--kubeconfig={kubeconfig}", *container["args"]],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": paths, **told, "POD_NAMESPACE": NAMESPACE, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _run(plane: ControlPlane, jobs: list[Object], hook: str, **environment: str) -> tuple[int, str]:
    process = _start(plane, jobs, hook, **environment)
    told, _ = process.communicate(timeout=150)
    return process.returncode, told


def _secret(plane: ControlPlane, name: str) -> Object:
    found: Object = json.loads(plane.kubectl("get", "secret", name, f"--namespace={NAMESPACE}", "--output=json"))
    return found


def test_passwords_are_made_once(plane: ControlPlane, jobs: list[Object]) -> None:
    code, told = _run(plane, jobs, "secrets")
    assert code == 0, told
    password, token = (_secret(plane, name) for name in ("arklex-redis", "arklex-door"))
    values = [base64.b64decode(password["data"]["password"]), base64.b64decode(token["data"]["token"])]
    assert len(set(values)) == 2 and min(map(len, values)) >= 43
    assert not [value for value in values if value.decode() in told]
    code, told = _run(plane, jobs, "secrets")
    assert code == 0 and told.count("stays as it is") == 2
    assert _secret(plane, "arklex-redis") == password and _secret(plane, "arklex-door") == token


def test_a_key_that_is_missing_is_added(plane: ControlPlane, jobs: list[Object]) -> None:
    plane.kubectl("delete", "secret", "arklex-redis", f"--namespace={NAMESPACE}", "--ignore-not-found")
    plane.kubectl("create", "secret", "generic", "arklex-redis", "--from-literal=other=kept", f"--namespace={NAMESPACE}")
    code, told = _run(plane, jobs, "secrets")
    assert code == 0, told
    assert base64.b64decode(_secret(plane, "arklex-redis")["data"]["other"]) == b"kept"
    assert _secret(plane, "arklex-redis")["data"]["password"]


def _api_service(namespace: str) -> str:
    spec = {
        "group": "external.metrics.k8s.io",
        "version": "v1beta1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "insecureSkipTLSVerify": True,
        "service": {"namespace": namespace, "name": "arklex-metrics"},
    }
    return yaml.safe_dump(
        {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": API_SERVICE}, "spec": spec}
    )


def _there(plane: ControlPlane, *what: str) -> bool:
    return bool(plane.kubectl("get", *what, "--ignore-not-found", "--output=name"))


@pytest.fixture
def administrator(redis_process: RedisServer, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Return what the environment says of a Redis with the users of two tenants and of somebody else."""
    with redis.Redis.from_url(redis_process.url) as client:
        for name in ("arklex-team-a", "arklex-gone", "somebody"):
            client.acl_setuser(name, enabled=True, passwords=["+x"])
        client.config_set("requirepass", "secret")
    (tmp_path / "password").write_text("secret\n")
    yield {"ARKLEX_REDIS_URL": redis_process.url, "ARKLEX_REDIS_PASSWORD_FILE": str(tmp_path / "password")}
    with redis.Redis.from_url(redis_process.url, password="secret") as client:
        client.config_set("requirepass", "")
        client.acl_deluser("somebody")


def test_cleanup_leaves_nothing_of_ours_and_all_of_others(
    plane: ControlPlane, jobs: list[Object], administrator: dict[str, str]
) -> None:
    plane.kubectl("create", "--filename=-", stdin=_api_service(NAMESPACE))
    worker = {
        "apiVersion": "arklex.ai/v1alpha1",
        "kind": "Worker",
        "metadata": {"name": "mine", "namespace": "team-a"},
        "spec": {"type": "custom", "config": {"handler": "m:f"}},
    }
    plane.kubectl("create", "--filename=-", stdin=yaml.safe_dump(worker))
    plane.kubectl("create", "namespace", "gone")
    for namespace in ("team-a", "gone", "team-c"):
        for name in ("arklex-connection", "theirs"):
            plane.kubectl("delete", "secret", name, f"--namespace={namespace}", "--ignore-not-found")
            plane.kubectl("create", "secret", "generic", name, f"--namespace={namespace}")
    code, told = _run(plane, jobs, "secrets")
    assert code == 0, told

    code, told = _run(plane, jobs, "cleanup", **administrator)
    assert code == 0, told

    assert not _there(plane, f"apiservice/{API_SERVICE}")
    assert not _there(plane, "workers.arklex.ai,taskgraphs.arklex.ai,taskgraphruns.arklex.ai", "--all-namespaces")
    assert not _there(plane, "secret/arklex-connection", "--namespace=team-a")
    assert not _there(plane, "secret/arklex-connection", "--namespace=gone"), "known from Redis' users alone"
    assert _there(plane, "secret/theirs", "--namespace=team-a")
    assert _there(plane, "secret/arklex-connection", "--namespace=team-c"), "nobody of ours was there"
    assert not _there(plane, "secret/arklex-redis", f"--namespace={NAMESPACE}")
    assert not _there(plane, "secret/arklex-door", f"--namespace={NAMESPACE}")
    for name in ("arklex-metrics", "arklex-operator"):
        assert plane.kubectl("get", "deployment", name, f"--namespace={NAMESPACE}", "--output=jsonpath={.spec.replicas}") == "0"
    with redis.Redis.from_url(administrator["ARKLEX_REDIS_URL"], password="secret") as client:
        assert {"somebody", "default"} == set(map(str, client.acl_users()))


@pytest.mark.parametrize("jobs", ["--set=cleanup=false"], indirect=True)
def test_the_registration_goes_only_once_nobody_would_renew_it(plane: ControlPlane, jobs: list[Object]) -> None:
    plane.kubectl("create", "--filename=-", stdin=_api_service(NAMESPACE))
    labels = one(jobs, "Deployment", "arklex-metrics")["spec"]["selector"]["matchLabels"]
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    spec = {
        "containers": [{"name": "c", "image": "i:1", "securityContext": security}],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    metadata = {"name": "still-running", "namespace": NAMESPACE, "labels": labels}
    plane.kubectl(
        "create", "--filename=-", stdin=yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    )
    deadline = time.monotonic() + 60
    scale = ("get", "deployment", "arklex-metrics", f"--namespace={NAMESPACE}", "--output=jsonpath={.spec.replicas}")
    plane.kubectl("scale", "deployment", "arklex-metrics", f"--namespace={NAMESPACE}", "--replicas=2")
    process = _start(plane, jobs, "cleanup")
    while plane.kubectl(*scale) != "0" and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _there(plane, f"apiservice/{API_SERVICE}"), "it waits for the pod"
    plane.kubectl("delete", "pod", "still-running", f"--namespace={NAMESPACE}", "--grace-period=0", "--force")
    told, _ = process.communicate(timeout=90)
    assert process.returncode == 0, told
    assert not _there(plane, f"apiservice/{API_SERVICE}")


@pytest.mark.parametrize("jobs", ["--set=cleanup=false"], indirect=True)
def test_anothers_registration_is_left_alone(plane: ControlPlane, jobs: list[Object]) -> None:
    plane.kubectl("create", "--filename=-", stdin=_api_service("keda"))
    try:
        code, told = _run(plane, jobs, "cleanup")
        assert code == 0 and "belongs to keda/arklex-metrics: left alone" in told
        assert _there(plane, f"apiservice/{API_SERVICE}")
    finally:
        plane.kubectl("delete", "apiservice", API_SERVICE)


def test_a_redis_that_refuses_fails_the_uninstall_with_a_way_on(
    plane: ControlPlane, jobs: list[Object], administrator: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "wrong").write_text("wrong")
    code, told = _run(plane, jobs, "cleanup", **{**administrator, "ARKLEX_REDIS_PASSWORD_FILE": str(tmp_path / "wrong")})
    assert code == 1 and "helm uninstall --no-hooks" in told and "Traceback" not in told
    with redis.Redis.from_url(administrator["ARKLEX_REDIS_URL"], password="secret") as client:
        client.acl_deluser("arklex-team-a", "arklex-gone")


def test_check_says_what_is_not_ready(plane: ControlPlane, jobs: list[Object]) -> None:
    """Nothing runs here: the API server answers, the rest does not."""
    pod = one(jobs, "Pod", "arklex-hooks-check")
    arguments = pod["spec"]["containers"][0]["args"]
    assert [part.partition("=")[0] for part in arguments[1:]] == ["operator", "runtime", "metrics"]
    arguments[:] = ["check", "--seconds=0", "api=/readyz", "door=http://127.0.0.1:9/readyz", "metrics=/apis/nothing/v1"]
    code, told = _run(plane, jobs, "check")
    assert (
        code == 1
        and "api: ready" in told
        and "door: http://127.0.0.1:9/readyz:" in told
        and "metrics: /apis/nothing/v1:" in told
    )
    arguments[:] = ["check", "api=/readyz"]
    assert _run(plane, jobs, "check") == (0, "api: ready\n")
