"""TaskGraphRuns on a real API server: started, shown, asked, ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.controlplane import ControlPlane
from tests.integration.kube.bed import Bed, Gate, call, conditions, graph, run, worker

pytestmark = pytest.mark.apiserver


@pytest.fixture
def bed(control_plane: ControlPlane, tmp_path: Path) -> Bed:
    return Bed(control_plane, tmp_path)


async def test_a_run_is_started_and_its_end_is_shown(bed: Bed) -> None:
    chain = graph("chain", call("a", given={"n": 1}), call("b", dependsOn=["a"]), output="${tasks.a.output.n}")
    async with bed.replica() as running:
        await bed.apply(worker("echo"), chain, run("first", "chain", query="hello"))
        status = await bed.phase("tgr/first", "Succeeded")
        assert status["progress"] == "2/2" and status["output"] == "1" and status["runId"] == "first"
        assert status["tasks"] == {"total": 2, "succeeded": 2} and status["observedGeneration"] == 1
        assert conditions(status) == {"Completed": ("True", "Succeeded"), "Succeeded": ("True", "Succeeded")}
        shown = await bed.until("tg/chain", lambda status: status.get("runs", {}).get("succeeded") == 1)
        assert shown["lastRun"]["name"] == "first" and shown["lastRun"]["phase"] == shown["phase"] == "Succeeded"
        assert "Completed" not in conditions(shown)
        assert "first" in await bed.event("first", "RunSucceeded")
        assert running.replica.started == ["first"]


async def test_progress_shows_and_a_failure_names_the_command_for_its_logs(bed: Bed) -> None:
    gate = Gate()

    def boom(inputs: Any) -> None:
        raise RuntimeError("it broke")

    tasks = graph("g", call("wait", "gate"), call("break", "boom", dependsOn=["wait"]))
    async with bed.replica(gate=gate, boom=boom):
        await bed.apply(worker("gate"), worker("boom"), tasks, run("r", "g"))
        status = await bed.phase("tgr/r", "Running")
        assert status["message"] == "wait running" and status["progress"] == "0/2"
        assert conditions(status)["Completed"] == ("False", "Running")
        gate.open.set()
        status = await bed.phase("tgr/r", "Failed")
        assert status["failures"][0]["task"] == "break" and status["failures"][0]["logs"] == "arklex logs r break"
        assert "it broke" in status["message"]
        assert conditions(status) == {"Completed": ("True", "Failed"), "Succeeded": ("False", "Failed")}
        assert "arklex logs r break" in await bed.event("r", "RunFailed")


async def test_spec_cancel_cancels(bed: Bed) -> None:
    async with bed.replica(gate=Gate()):
        await bed.apply(worker("gate"), graph("g", call("wait", "gate")), run("r", "g"))
        await bed.phase("tgr/r", "Running")
        await bed.patch("tgr/r", {"spec": {"cancel": True}})
        status = await bed.phase("tgr/r", "Cancelled")
        assert conditions(status)["Succeeded"] == ("False", "Cancelled") and status["observedGeneration"] == 2


async def test_a_run_that_is_deleted_is_cancelled_in_the_journal(bed: Bed) -> None:
    async with bed.replica(gate=Gate()) as running:
        await bed.apply(worker("gate"), graph("g", call("wait", "gate")), run("r", "g"))
        await bed.phase("tgr/r", "Running")
        await bed.delete("tgr/r")
        shown = await bed.until("tg/g", lambda status: status.get("runs", {}).get("active") == 0)
        assert shown["runs"] == {"active": 0, "succeeded": 0, "failed": 1} and shown["lastRun"]["phase"] == "Cancelled"
        assert (await running.replica.records(run_ids=["r"]))[0].phase == "Cancelled"


async def test_approvals_in_the_spec_are_delivered_also_before_they_wait(bed: Bed) -> None:
    gate = Gate()
    tasks = graph(
        "g",
        {"name": "check", "approval": {"message": "go?"}},
        call("wait", "gate", dependsOn=["check"]),
        {"name": "late", "approval": {"message": "sure?"}, "dependsOn": ["wait"]},
    )
    async with bed.replica(gate=gate):
        await bed.apply(worker("gate"), tasks, run("r", "g"))
        status = await bed.until("tgr/r", lambda status: bool(status.get("approvals")))
        assert status["approvals"] == ["check"] and "arklex approve r check" in status["message"]
        assert "arklex approve r check" in await bed.event("r", "ApprovalNeeded")
        decisions = [{"task": "check", "approved": True}, {"task": "late", "approved": False, "by": "ada"}]
        await bed.patch("tgr/r", {"spec": {"approvals": decisions}})
        await bed.until("tgr/r", lambda status: status.get("message") == "wait running")
        gate.open.set()
        status = await bed.phase("tgr/r", "Failed")
        assert status["failures"][0]["type"] == "Denied"
        await bed.patch("tgr/r", {"spec": {"cancel": True}})
        assert (await bed.status("tgr/r"))["phase"] == "Failed"


async def test_a_decision_for_no_approval_is_told(bed: Bed) -> None:
    async with bed.replica(gate=Gate()):
        await bed.apply(worker("gate"), graph("g", call("wait", "gate")))
        await bed.apply(run("r", "g", approvals=[{"task": "nothing", "approved": True}]))
        assert "nothing" in await bed.event("r", "ApprovalRefused")


async def test_a_run_waits_for_its_worker_and_for_its_graph(bed: Bed) -> None:
    async with bed.replica():
        await bed.apply(run("r", "g"))
        status = await bed.until("tgr/r", lambda status: conditions(status).get("Succeeded") == ("Unknown", "GraphNotFound"))
        assert status["phase"] == "Pending" and "no TaskGraph 'g'" in status["message"]
        await bed.apply(graph("g", call("a")))
        await bed.until("tgr/r", lambda status: conditions(status)["Succeeded"] == ("Unknown", "WorkerNotFound"))
        await bed.apply(worker("echo"))
        await bed.phase("tgr/r", "Succeeded")


async def test_a_graph_that_the_operator_refuses_is_not_run_until_it_is_accepted(bed: Bed) -> None:
    await bed.apply(worker("echo"), graph("g", call("a")))
    said = {"type": "Accepted", "reason": "UnknownTool", "message": "spec.tasks[0]: no", "observedGeneration": 1}
    said["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    await bed.patch("tg/g", {"status": {"conditions": [{**said, "status": "False"}]}}, "--subresource=status")
    async with bed.replica():
        await bed.apply(run("r", "g"))
        status = await bed.phase("tgr/r", "Pending")
        assert conditions(status)["Succeeded"] == ("Unknown", "GraphNotAccepted") and "spec.tasks[0]" in status["message"]
        await bed.patch("tg/g", {"status": {"conditions": [{**said, "status": "True"}]}}, "--subresource=status")
        await bed.phase("tgr/r", "Succeeded")


async def test_a_run_that_can_never_run_fails_and_says_why(bed: Bed) -> None:
    cyclic = graph("cyclic", call("a", dependsOn=["b"]), call("b", dependsOn=["a"]))
    typed = graph("typed", call("a"), input={"schema": {"type": "object", "required": ["n"]}})
    async with bed.replica():
        await bed.apply(worker("echo"), cyclic, typed, run("r", "cyclic"), run("t", "typed"))
        status = await bed.phase("tgr/r", "Failed")
        assert conditions(status) == {"Completed": ("True", "Failed"), "Succeeded": ("False", "InvalidGraph")}
        assert "circle" in status["message"] and "runId" not in status
        status = await bed.phase("tgr/t", "Failed")
        assert conditions(status)["Succeeded"] == ("False", "InvalidInput") and "n" in status["message"]


async def test_a_name_that_another_namespace_has_gets_the_uid_beside_it(bed: Bed) -> None:
    async with bed.replica() as running:
        await bed.apply(worker("echo"), graph("g", call("a")), run("same", "g"))
        await bed.phase("tgr/same", "Succeeded")
        await bed.delete("tgr/same")
        await bed.apply(run("same", "g"))
        status = await bed.phase("tgr/same", "Succeeded")
        uid = (await bed.get("tgr/same"))["metadata"]["uid"]
        assert status["runId"] == f"same-{uid[:8]}" == running.replica.started[-1]


async def test_a_terminal_status_is_never_run_again(bed: Bed) -> None:
    await bed.apply(worker("echo"), graph("g", call("a")), run("old", "g"))
    await bed.patch("tgr/old", {"status": {"phase": "Succeeded", "runId": "elsewhere"}}, "--subresource=status")
    async with bed.replica() as running:
        await bed.apply(run("new", "g"))
        await bed.phase("tgr/new", "Succeeded")
        assert running.replica.started == ["new"]
        assert (await bed.status("tgr/old"))["runId"] == "elsewhere"


async def test_runs_wait_for_room_and_go_by_priority(bed: Bed) -> None:
    gate = Gate()
    async with bed.replica(gate=gate, echo=lambda inputs: inputs) as running:
        running.replica.most_runs = 1
        await bed.apply(worker("gate"), worker("echo"), graph("g", call("wait", "gate")), graph("e", call("a")))
        await bed.apply(run("first", "g"))
        await bed.phase("tgr/first", "Running")
        for name, priority in (("low", 1), ("usual", None), ("high", 9)):
            await bed.apply(run(name, "e", **({} if priority is None else {"priority": priority})))
            status = await bed.until(f"tgr/{name}", lambda status: bool(status.get("conditions")))
            assert status["phase"] == "Pending" and conditions(status)["Completed"] == ("False", "Overloaded")
        gate.open.set()
        for name in ("low", "usual", "high"):
            await bed.phase(f"tgr/{name}", "Succeeded")
        assert running.replica.started == ["first", "high", "usual", "low"]
