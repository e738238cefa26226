"""The real operator with the chart's service account, environment and policies: nothing that it does is refused."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import yaml

from tests.apiserver.operators import Operator
from tests.controlplane import ControlPlane
from tests.helm.charts import NAMESPACE, Object, case, one
from tests.services import RedisServer

pytestmark = [pytest.mark.apiserver, pytest.mark.redis]

CHILDREN = "deployments,horizontalpodautoscalers,poddisruptionbudgets,networkpolicies,services,serviceaccounts"

OBJECTS = """
apiVersion: arklex.ai/v1alpha1
kind: Worker
metadata: {name: echo, namespace: team-a}
spec: {type: custom, config: {handler: "m:handle"}}
---
apiVersion: arklex.ai/v1alpha1
kind: TaskGraph
metadata: {name: hello, namespace: team-a}
spec:
  tasks: [{name: a, worker: echo, action: say}]
  run: {query: hello}
"""


@pytest.fixture
def operator(plane: ControlPlane, redis_process: RedisServer, tmp_path: Path) -> Iterator[Operator]:
    """Return the operator, running and leading."""
    (container,) = one(case("default"), "Deployment", "arklex-operator")["spec"]["template"]["spec"]["containers"]
    told = {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}
    (tmp_path / "password").write_text("")
    here = {
        "POD_NAMESPACE": NAMESPACE,
        "ARKLEX_REDIS_URL": redis_process.url,
        "ARKLEX_WORKER_REDIS_URL": redis_process.url,
        "ARKLEX_REDIS_PASSWORD_FILE": str(tmp_path / "password"),
    }
    running = Operator(plane.service_account(NAMESPACE, "arklex-operator"), tmp_path / "log", {**told, **here})
    try:
        running.until_ready()
        yield running
    finally:
        running.stop()
        plane.kubectl("delete", "workers,taskgraphs,taskgraphruns", "--all", "--namespace=team-a")
        plane.kubectl("delete", CHILDREN, "--selector=app.kubernetes.io/managed-by=arklex-operator", "--namespace=team-a")
        plane.kubectl("delete", "secret", "arklex-connection", "--namespace=team-a", "--ignore-not-found")
        with redis.Redis.from_url(redis_process.url) as client:
            client.acl_deluser("arklex-team-a")


def _until(plane: ControlPlane, operator: Operator, what: str, kind: str) -> Object:
    """Wait for the condition Accepted=True of an object; return the object."""
    deadline = time.monotonic() + 90
    while True:
        found: Object = json.loads(plane.kubectl("get", what, "--namespace=team-a", "--output=json"))
        conditions = {each["type"]: each for each in found.get("status", {}).get("conditions", [])}
        if conditions.get(kind, {}).get("status") == "True":
            return found
        assert time.monotonic() < deadline, f"{conditions}\n{operator.log()}"
        time.sleep(0.2)


def test_all_that_the_operator_does_is_allowed(plane: ControlPlane, operator: Operator, redis_process: RedisServer) -> None:
    plane.kubectl("apply", "--server-side", "--filename=-", stdin=OBJECTS)
    _until(plane, operator, "worker/echo", "TenantIsolation")
    _until(plane, operator, "worker/echo", "Accepted")
    _until(plane, operator, "taskgraph/hello", "Accepted")
    children = plane.kubectl("get", CHILDREN, "--namespace=team-a", "--output=name").split()
    assert {name.partition(".")[0].partition("/")[0] for name in children if name.endswith("/echo-worker")} == {
        "deployment", "horizontalpodautoscaler", "poddisruptionbudget", "networkpolicy", "service", "serviceaccount",
    }  # fmt: skip
    assert plane.kubectl("get", "taskgraphruns", "--namespace=team-a", "--output=name").split()
    secret = json.loads(plane.kubectl("get", "secret", "arklex-connection", "--namespace=team-a", "--output=json"))
    account = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    with redis.Redis.from_url(redis_process.url, username=account["username"], password=account["password"]) as client:
        assert client.ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.get("arklex:{team-b}:cache:x")
    assert "forbidden" not in operator.log().lower(), operator.log()
    assert plane.kubectl("get", "lease", "arklex-operator", f"--namespace={NAMESPACE}", "--output=name")


def test_a_change_of_a_worker_reaches_its_children(plane: ControlPlane, operator: Operator) -> None:
    plane.kubectl("apply", "--server-side", "--filename=-", stdin=OBJECTS)
    _until(plane, operator, "worker/echo", "Accepted")
    first = next(yaml.safe_load_all(OBJECTS))
    first["spec"]["drainSeconds"] = 77
    plane.kubectl("apply", "--server-side", "--filename=-", stdin=yaml.safe_dump(first))
    path = "--output=jsonpath={.spec.template.spec.terminationGracePeriodSeconds}"
    deadline = time.monotonic() + 60
    while plane.kubectl("get", "deployment", "echo-worker", "--namespace=team-a", path) != "92":
        assert time.monotonic() < deadline, operator.log()
        time.sleep(0.2)
    assert "forbidden" not in operator.log().lower(), operator.log()
