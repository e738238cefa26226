"""Workers under the real operator, with the rights of the chart's, on a real API server and a real Redis."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from arklex_operator.cluster.accounts import POD_COMMANDS
from arklex_operator.manifests.kinds import DEPLOYMENT, HPA, NETWORK_POLICY, POD, SECRET, SERVICE, WORKER
from arklex_runtime.dispatch.streams import wire
from tests.apiserver.api import Api, manifest
from tests.apiserver.operators import Operator, operator
from tests.apiserver.workers import CHILDREN, IMAGES, Space, account, until, users
from tests.controlplane import ControlPlane
from tests.services import RedisServer, redis_server

pytestmark = [pytest.mark.apiserver, pytest.mark.redis]


@pytest.fixture(scope="module", name="rights")
def operator_rights(control_plane: ControlPlane) -> Path:
    return account(control_plane)


@pytest.fixture(scope="module")
def broker() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def running(rights: Path, broker: RedisServer) -> Iterator[Operator]:
    with operator(
        rights,
        ARKLEX_REDIS_URL=broker.url,
        ARKLEX_REDIS_ACL="managed",
        ARKLEX_IMAGES=IMAGES,
        ARKLEX_LEADER_LEASE="arklex-operator",
    ) as process:
        yield process


@pytest.fixture
def space(api: Api, namespace: str, running: Operator) -> Space:
    return Space(api, namespace, running)


def test_a_worker_becomes_what_it_needs(space: Space, broker: RedisServer) -> None:
    uid = space.apply()["metadata"]["uid"]
    children = space.until_children()
    for child in children.values():
        (owner,) = child["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"]) == (uid, True)
        assert "finalizers" not in child["metadata"]
    until(lambda: (space.get(DEPLOYMENT, "w-worker") or {})["spec"]["replicas"] == 2, "minReplicas")
    assert children[HPA]["spec"]["minReplicas"] == 2
    space.until_condition("Accepted", "True", "Accepted")
    space.until_condition("Available", "False", "Starting")
    space.until_condition("TenantIsolation", "True", "Managed")
    worker = space.get(WORKER, "w") or {}
    assert "finalizers" not in worker["metadata"] and "annotations" not in worker["metadata"]
    status = until(lambda: (space.get(WORKER, "w") or {}).get("status", {}), "a status")
    assert status["observedGeneration"] == 1


def test_an_account_reaches_its_own_namespace_and_nothing_else(space: Space, broker: RedisServer) -> None:
    space.apply()
    space.until_children()
    space.until_condition("TenantIsolation", "True", "Managed")
    secret = space.get(SECRET, "arklex-connection") or {}
    data = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    assert data["url"] == broker.url and data["username"] == f"arklex-{space.namespace}"
    with redis.Redis(port=broker.port) as admin:
        until(lambda: data["username"] in users(admin), "the user")
    with redis.Redis(port=broker.port, username=data["username"], password=data["password"]) as client:
        client.xadd(f"arklex:{{{space.namespace}}}:results", {"r": "{}"})
        for call in (
            lambda: client.xadd(f"arklex:{{{space.namespace}-b}}:results", {"r": "{}"}),
            lambda: client.xadd(f"arklex:{{{space.namespace[:-1]}}}:results", {"r": "{}"}),
            client.keys,
            client.flushall,
            lambda: client.config_get("*"),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                call()


def test_pods_may_ask_what_the_runtime_says_they_ask() -> None:
    assert POD_COMMANDS == wire.POD_COMMANDS


def test_a_steady_state_writes_nothing(space: Space) -> None:
    space.apply()
    space.until_children()
    space.until_condition("TenantIsolation", "True", "Managed")
    until(lambda: "queued" in (space.get(WORKER, "w") or {}).get("status", {}), "figures in the status")
    time.sleep(1)
    before = {kind: (space.get(kind, "w-worker") or {})["metadata"]["resourceVersion"] for kind in CHILDREN}
    status = (space.get(WORKER, "w") or {})["status"]
    line = 'arklex_operator_reconciles_total{kind="Worker",result="ok"}'
    for number in range(3):
        reconciles = space.process.metric(line)
        space.patch(WORKER, "w", {"metadata": {"annotations": {"touched": str(number)}}})
        until_more(space, line, reconciles)
    assert {kind: (space.get(kind, "w-worker") or {})["metadata"]["resourceVersion"] for kind in CHILDREN} == before
    assert (space.get(WORKER, "w") or {})["status"] == status


def until_more(space: Space, line: str, than: float) -> None:
    until(lambda: space.process.metric(line) > than, "a reconcile", space.process)


def test_what_somebody_changes_is_set_right(space: Space) -> None:
    space.apply()
    space.until_children()
    space.delete(NETWORK_POLICY, "w-worker")
    until(lambda: space.get(NETWORK_POLICY, "w-worker"), "the policy again", space.process)
    space.patch(SERVICE, "w-worker", {"spec": {"selector": {"arklex.ai/worker": "another"}}})
    until(lambda: (space.get(SERVICE, "w-worker") or {})["spec"]["selector"]["arklex.ai/worker"] == "w", "the selector again")


def test_replicas_belong_to_the_hpa(space: Space) -> None:
    space.apply()
    space.until_children()
    until(lambda: (space.get(DEPLOYMENT, "w-worker") or {})["spec"]["replicas"] == 2, "minReplicas")
    space.patch(DEPLOYMENT, "w-worker", {"spec": {"replicas": 5}}, "scale")
    space.apply(concurrency=7, template={"spec": {"containers": [{"name": "worker", "env": [{"name": "MODE", "value": "x"}]}]}})

    def look() -> dict[str, Any] | None:
        spec = (space.get(DEPLOYMENT, "w-worker") or {})["spec"]
        names = [each["name"] for each in spec["template"]["spec"]["containers"][0]["env"]]
        return spec if "MODE" in names else None

    assert until(look, "the new template", space.process)["replicas"] == 5
    space.apply()
    until(lambda: look() is None, "what is no longer said is gone", space.process)
    assert (space.get(DEPLOYMENT, "w-worker") or {})["spec"]["replicas"] == 5


@pytest.mark.parametrize(
    ("spec", "reason", "says"),
    [
        (
            {"template": {"spec": {"serviceAccountName": "default"}}},
            "TemplateForbidden",
            "spec.template.spec.serviceAccountName",
        ),
        ({"template": {"spec": {"hostNetwork": True}}}, "TemplateForbidden", "spec.template.spec.hostNetwork"),
        (
            {"template": {"spec": {"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}}},
            "TemplateForbidden",
            "spec.template.spec.volumes[0].hostPath",
        ),
        ({"type": "rag", "config": {}}, "TypeUnsupported", "llm, tool, custom"),
        ({"type": "browser", "config": {}}, "SandboxUnavailable", "config.sandbox"),
        ({"config": {"port": 8000}}, "HandlerMissing", "handler"),
        ({"config": {"handler": "not a handler"}}, "Invalid", "spec.config.handler"),
    ],
    ids=["account", "network", "path", "type", "sandbox", "sidecar", "handler"],
)
def test_what_cannot_be_run_says_why(space: Space, spec: dict[str, Any], reason: str, says: str) -> None:
    space.apply(**spec)
    assert says in space.until_condition("Accepted", "False", reason)
    assert space.get(DEPLOYMENT, "w-worker") is None
    until(lambda: reason in space.reasons(), "an event", space.process)
    space.apply("good")
    space.until_condition("Accepted", "True", "Accepted", "good")


def test_an_object_of_somebody_elses_is_left_alone(space: Space) -> None:
    labels = {"app": "theirs"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "theirs:1"}]}}
    theirs = {"metadata": {"name": "w-worker"}, "spec": {"selector": {"matchLabels": labels}, "template": template}}
    version = space.create(DEPLOYMENT, theirs)["metadata"]["resourceVersion"]
    space.apply()
    assert "w-worker" in space.until_condition("Accepted", "False", "NameTaken")
    assert (space.get(DEPLOYMENT, "w-worker") or {})["metadata"]["resourceVersion"] == version


def test_keys_of_models_and_tools_are_mounted_where_they_are_used(space: Space) -> None:
    space.apply("caller", type="tool", config={})
    space.apply("model", type="llm", config={}, llm={"model": "m", "apiKeySecretRef": {"name": "openai", "key": "apiKey"}})
    space.apply("other")
    auth = {"secretRef": {"name": "tickets", "key": "token"}}
    tools = [{"name": "ticket", "http": {"url": "https://tickets.example", "auth": auth}}]
    graph = manifest("TaskGraph", "g", {"tools": tools, "tasks": [{"name": "t", "tool": "ticket", "with": {}}]})
    assert space.api.create(space.namespace, graph).code == 201

    def secrets(name: str) -> dict[str, bool]:
        spec = (space.get(DEPLOYMENT, f"{name}-worker") or {"spec": {"template": {"spec": {}}}})["spec"]["template"]["spec"]
        found = [each["secret"] for each in spec.get("volumes", []) if "secret" in each]
        return {each["secretName"]: each.get("optional", False) for each in found}

    connection = {"arklex-connection": False}
    until(lambda: secrets("caller") == {**connection, "tickets": True}, "the tool's key", space.process)
    until(lambda: secrets("model") == {**connection, "openai": False}, "the model's key", space.process)
    until(lambda: secrets("other") == connection, "no key", space.process)


def waiting(reason: str, message: str) -> dict[str, Any]:
    state = {"name": "worker", "image": "arklex/worker:1", "imageID": "", "ready": False, "restartCount": 0}
    return {"phase": "Pending", "containerStatuses": [{**state, "state": {"waiting": {"reason": reason, "message": message}}}]}


def test_pods_that_do_not_start_are_told_of(space: Space) -> None:
    space.apply()
    space.pod("p1", waiting("ImagePullBackOff", "Back-off pulling image"))
    assert "arklex/worker:1" in space.until_condition("Available", "False", "ImagePullFailed")
    until(lambda: "ImagePullFailed" in space.reasons(), "an event", space.process)
    space.patch(
        POD,
        "p1",
        {"status": waiting("CreateContainerConfigError", 'secret "absent" not found')},
        "status",
    )
    assert "absent" in space.until_condition("PodsHealthy", "False", "SecretMissing")


def test_queue_and_load_are_shown(space: Space, broker: RedisServer) -> None:
    space.apply(concurrency=2)
    space.until_children()
    with redis.Redis(port=broker.port) as client:
        for _ in range(3):
            client.xadd(f"arklex:{{{space.namespace}}}:jobs:w", {"k": "[]", "j": "{}"})
    status = until(
        lambda: found if (found := (space.get(WORKER, "w") or {}).get("status", {})).get("queued") == 3 else None,
        "the queue",
        space.process,
    )
    assert status["load"] == "1.50" and status["inFlight"] == 0


def test_users_come_back_when_redis_has_lost_everything(space: Space, broker: RedisServer) -> None:
    space.apply()
    space.until_children()
    name = f"arklex-{space.namespace}"
    with redis.Redis(port=broker.port) as client:
        until(lambda: name in users(client), "the user", space.process)
    password = (space.get(SECRET, "arklex-connection") or {})["data"]["password"]
    broker.stop()
    broker.start()
    with redis.Redis(port=broker.port) as client:
        until(lambda: name in users(client), "the user again", space.process)
    assert (space.get(SECRET, "arklex-connection") or {})["data"]["password"] == password
    with redis.Redis(port=broker.port, username=name, password=base64.b64decode(password).decode()) as client:
        assert client.ping()


def test_a_dying_namespace_does_not_stop_the_others(space: Space) -> None:
    space.apply()
    space.until_children()
    assert space.api.call("DELETE", f"/api/v1/namespaces/{space.namespace}").code == 200
    space.delete(SERVICE, "w-worker")
    message = space.until_condition("Accepted", "False", "Forbidden")
    assert "being terminated" in message
    other = Space(space.api, space.api.namespace(), space.process)
    other.apply()
    other.until_children()


def test_a_password_is_in_no_log_and_no_status(space: Space) -> None:
    space.apply()
    space.until_children()
    password = base64.b64decode((space.get(SECRET, "arklex-connection") or {})["data"]["password"]).decode()
    assert password not in json.dumps(space.get(WORKER, "w")) and password not in json.dumps(space.get(DEPLOYMENT, "w-worker"))
    assert password not in space.process.log_file.read_text()
