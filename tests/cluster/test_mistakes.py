"""Wrong things: a condition and an event say what to fix, and everything else goes on."""

from __future__ import annotations

import contextlib

import pytest

from tests.cluster.kube import Kube, KubectlFailed, Object, graph, run_of, step, worker


def message(space: Kube, kind: str, name: str, condition: str, reason: str, patience: float = 180) -> str:
    return str(space.until_condition(kind, name, condition, "False", reason, patience)["message"])


@pytest.mark.parametrize(
    ("tasks", "reason", "says"),
    [
        ([step("a", "echo", "b"), step("b", "echo", "a")], None, "circle"),
        ([step("a", worker="nobody")], None, "nobody"),
        ([step("a", "echo", "ghost")], None, "ghost"),
        ([{"name": "a", "value": "${1 +}"}], None, "spec.tasks[0].value"),
        ([{"name": "a", "graph": "missing"}], None, "missing"),
        ([{"name": "a", "tool": "missing"}], None, "missing"),
    ],
    ids=["cycle", "worker", "task", "expression", "graph", "tool"],
)
def test_a_wrong_graph_says_where(space: Kube, tasks: list[Object], reason: str | None, says: str) -> None:
    space.apply(worker("probe"), graph("wrong", tasks, run={}), graph("right", [{"name": "v", "value": 1}], run={}))
    found = space.until_condition("taskgraph", "wrong", "Accepted", "False", reason)
    assert says in found["message"] and "spec." in found["message"], found
    space.until_phase("taskgraph", "right", ["Succeeded"])
    assert not [r for r in space.all("taskgraphruns") if r["spec"]["graph"] == "wrong"]
    assert space.until(lambda: [e for e in space.events("wrong") if e["type"] == "Warning"], "an event")


def test_a_graph_accepted_once_it_is_mended(space: Kube) -> None:
    space.apply(graph("later", [step("a", worker="pool")], run={}))
    assert "pool" in space.until_condition("taskgraph", "later", "Accepted", "False")["message"]
    space.apply(worker("pool"))
    space.until_phase("taskgraph", "later", ["Succeeded"])


def test_a_pool_that_cannot_start_says_why(space: Kube) -> None:
    broken = worker("no-image")
    broken["spec"]["template"]["spec"]["containers"][0]["image"] = "localhost/nothing/there:1"
    crash = worker("crash", handler="nothing_there:handle")
    secret = worker("secret")
    secret["spec"] |= {"type": "llm", "llm": {"model": "m", "apiKeySecretRef": {"name": "absent", "key": "k"}}, "config": {}}
    del secret["spec"]["template"]
    space.apply(broken, crash, secret, worker("fine"), graph("goes-on", [step("a", worker="fine")], run={}))
    assert "localhost/nothing/there:1" in message(space, "worker", "no-image", "Available", "ImagePullFailed")
    assert "absent" in message(space, "worker", "secret", "Available", "SecretMissing")
    assert "nothing_there" in message(space, "worker", "crash", "Available", "PodsCrash") or space.reasons("crash")
    space.until_phase("taskgraph", "goes-on", ["Succeeded"])
    space.until_condition("worker", "fine", "Available")


@pytest.mark.parametrize(
    ("overlay", "path"),
    [
        ({"serviceAccountName": "default"}, "serviceAccountName"),
        ({"hostNetwork": True}, "hostNetwork"),
        ({"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}, "volume"),
        ({"containers": [{"name": "worker", "securityContext": {"privileged": True}}]}, "privileged"),
    ],
    ids=["account", "network", "path", "privileged"],
)
def test_a_forbidden_template_is_refused(space: Kube, overlay: Object, path: str) -> None:
    body = worker("deputy")
    body["spec"]["template"] = {"spec": overlay}
    with contextlib.suppress(KubectlFailed):
        space.apply(body)
    if space.get("worker", "deputy") is None:  # the admission policy was first
        with pytest.raises(KubectlFailed, match=path):
            space.apply(body)
        return
    assert path in message(space, "worker", "deputy", "Accepted", "TemplateForbidden")
    assert space.get("deployment", "deputy-worker") is None


def test_a_run_of_nothing_fails_and_says_so(space: Kube) -> None:
    space.create(run_of("lost", "nowhere"))
    status = space.until_phase("taskgraphrun", "lost", ["Failed"])
    assert "nowhere" in status["message"]


def test_a_failing_task_names_the_command_for_its_logs(space: Kube) -> None:
    tasks = [step("bad", "fail", given={"message": "out of ink"})]
    space.apply(worker("probe"), graph("fails", tasks, run={}))
    status = space.until_phase("taskgraph", "fails", ["Failed"])
    (failure,) = status["lastRun"]["failures"]
    assert failure["task"] == "bad" and "out of ink" in failure["message"] and "arklex logs" in failure["logs"]
    space.until_condition("taskgraph", "fails", "Completed", reason="Failed")
    space.until_condition("taskgraph", "fails", "Succeeded", "False")
