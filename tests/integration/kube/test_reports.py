"""Statuses on a real API server: few writes, the right writer, nothing when nothing changes."""

from __future__ import annotations

import asyncio
import itertools
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from arklex_api.versions import run_name, version_of
from arklex_runtime.kube.ports import Origin
from arklex_runtime.orchestrator.requests import Request
from tests.controlplane import ControlPlane
from tests.integration.kube.bed import Bed, Gate, call, conditions, graph, run, worker

pytestmark = pytest.mark.apiserver


@pytest.fixture
def bed(control_plane: ControlPlane, tmp_path: Path) -> Bed:
    return Bed(control_plane, tmp_path)


async def accept(bed: Bed, name: str) -> str:
    """Do the operator's part for a graph with spec.run; return the name of the run."""
    given = await bed.get(f"tg/{name}")
    there, digest = given["metadata"], version_of(given["spec"], None)
    generation = there["generation"]
    made = run(run_name(name, there["uid"], digest), name)
    owner = {"apiVersion": made["apiVersion"], "kind": "TaskGraph", "name": name, "uid": there["uid"]}
    made["metadata"] |= {"annotations": {"arklex.ai/digest": digest}, "ownerReferences": [owner]}
    accepted = {
        "type": "Accepted",
        "status": "True",
        "reason": "Valid",
        "message": "",
        "observedGeneration": generation,
    }
    status = {
        "observedGeneration": generation,
        "digest": digest,
        "conditions": [{**accepted, "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    }
    text = {"apiVersion": made["apiVersion"], "kind": "TaskGraph", "metadata": {"name": name}, "status": status}
    await bed.apply(made)
    await bed.apply_status(text)
    return str(made["metadata"]["name"])


async def test_a_short_run_costs_one_write_and_nothing_is_written_afterwards(bed: Bed) -> None:
    account = bed.account()
    chain = graph("chain5", *[call(f"t{n}", dependsOn=[f"t{n - 1}"] if n else []) for n in range(5)], run={})
    async with bed.replica(kubeconfig=account) as running:
        await bed.apply(worker("echo"), chain)
        began = time.monotonic()
        name = await accept(bed, "chain5")
        shown = await bed.until("tg/chain5", lambda status: conditions(status).get("Completed") == ("True", "Succeeded"))
        print(f"chain5: from the operator's first write to Completed in {time.monotonic() - began:.2f} s")
        assert conditions(shown)["Succeeded"] == ("True", "Succeeded") and shown["lastRun"]["name"] == name
        assert conditions(shown)["Accepted"] == ("True", "Valid") and shown["digest"]
        written = bed.writes("runtime")
        assert [each["verb"] for each in written if each["resource"] == "taskgraphruns"] == ["patch"]
        await asyncio.sleep(12)
        after = bed.writes("runtime")
        assert [each for each in after if each["resource"] != "events"] == [e for e in written if e["resource"] != "events"]
        assert not len(running.link.reports) and running.link.healthy


async def test_completed_speaks_of_the_version_of_the_graph_that_is_there(bed: Bed) -> None:
    gate = Gate()
    async with bed.replica(gate=gate):
        await bed.apply(worker("echo"), worker("gate"), graph("g", call("a"), run={}))
        await accept(bed, "g")
        await bed.until("tg/g", lambda status: conditions(status).get("Completed") == ("True", "Succeeded"))
        await bed.apply(graph("g", call("a", "gate"), run={}))
        await accept(bed, "g")
        shown = await bed.until("tg/g", lambda status: conditions(status).get("Completed") == ("False", "Running"))
        assert {each["observedGeneration"] for each in shown["conditions"]} == {2}
        gate.open.set()
        await bed.until("tg/g", lambda status: conditions(status).get("Completed") == ("True", "Succeeded"))
        await bed.patch("tg/g", {"spec": {"history": {"succeeded": 1}}})
        await accept(bed, "g")
        shown = await bed.until("tg/g", lambda status: {e["observedGeneration"] for e in status["conditions"]} == {3})
        assert conditions(shown)["Completed"] == ("True", "Succeeded")


async def test_many_runs_of_two_replicas_keep_the_bound_and_all_are_shown(bed: Bed) -> None:
    account = bed.account()
    async with bed.replica("r1", kubeconfig=account) as one, bed.replica("r2", kubeconfig=account) as two:
        await bed.apply(worker("echo"), graph("g", call("a"), call("b", dependsOn=["a"])))
        names = [f"run-{n}" for n in range(60)]
        await bed.apply(*(run(name, "g") for name in names))
        for name in names:
            await bed.phase(f"tgr/{name}", "Succeeded")
        shown = await bed.until("tg/g", lambda status: status.get("runs", {}).get("succeeded") == len(names))
        assert shown["runs"]["active"] == 0 and shown["lastRun"]["phase"] == "Succeeded"
        assert sorted(one.replica.started + two.replica.started) == sorted(names)
        assert one.replica.started and two.replica.started
    statuses = [each for each in bed.writes("runtime") if each.get("subresource") == "status"]
    times = sorted(datetime.fromisoformat(each["at"]).timestamp() for each in statuses)
    within = max(sum(1 for other in times if at <= other < at + 0.9) for at in times)
    assert within <= 22, within
    per_run = [sum(1 for each in statuses if each["name"] == name) for name in names]
    assert max(per_run) <= 3, per_run


async def test_what_a_dead_replica_left_is_taken_over_and_shown(bed: Bed) -> None:
    gate = Gate()
    async with bed.replica("r2", gate=gate) as two:
        async with bed.replica("r1", gate=gate) as one:
            await bed.apply(worker("gate"), graph("g", call("wait", "gate")))
            for number in itertools.count():
                await bed.apply(run(f"r{number}", "g"))
                await bed.phase(f"tgr/r{number}", "Running")
                if one.replica.started:
                    break
            name = one.replica.started[0]
        await two.replica.resume(name)
        two.link.taken_over(name)
        assert name in await bed.event(name, "RunTakenOver")
        gate.open.set()
        await bed.phase(f"tgr/{name}", "Succeeded")


async def test_an_end_that_its_owner_did_not_live_to_report_is_folded_from_the_journal(bed: Bed) -> None:
    gate = Gate()
    async with bed.replica("r1", gate=gate) as one:
        await bed.apply(worker("gate"), graph("g", call("wait", "gate"), output="${tasks.wait.output.n}"))
        await bed.apply(graph("g", call("wait", "gate", {"n": 7}), output="${tasks.wait.output.n}"), run("r", "g"))
        await bed.phase("tgr/r", "Running")
        one.link.reports.drop("run", bed.namespace, "r")
        one.replica.mute()
        gate.open.set()
        await one.until_phase("r", "Succeeded")
    async with bed.replica("r2", gate=gate):
        status = await bed.phase("tgr/r", "Succeeded")
        assert status["output"] == "7"
        await bed.until("tg/g", lambda status: status.get("runs", {}).get("succeeded") == 1)


async def test_runs_without_an_object_show_in_their_graph_and_end_with_it(bed: Bed) -> None:
    gate = Gate()
    async with bed.replica(gate=gate) as running:
        check = {"name": "check", "approval": {"message": "go?"}}
        await bed.apply(worker("gate"), graph("g", call("wait", "gate"), check))
        await running.until_known(bed.namespace, "g", "gate")
        program, uid = running.link.program_of(bed.namespace, "g")
        await running.replica.start(program, Request(run_id="http-1"), Origin(uid))
        shown = await bed.until("tg/g", lambda status: status.get("runs", {}).get("active") == 1)
        assert "arklex approve http-1 check" in await bed.event("g", "ApprovalNeeded")
        assert shown["lastRun"]["name"] == "http-1" and shown["phase"] == "Running"
        await bed.delete("tg/g")
        await running.until_phase("http-1", "Cancelled")


async def test_a_big_run_has_a_small_status(bed: Bed) -> None:
    def boom(inputs: Any) -> None:
        raise RuntimeError("é" * 5000)

    tasks = [call(f"t{n}", "boom") for n in range(300)]
    async with bed.replica(boom=boom):
        await bed.apply(worker("boom"), graph("g", *tasks, onFailure="continue"), run("r", "g"))
        status = await bed.phase("tgr/r", "Failed")
        assert status["tasks"] == {"total": 300, "failed": 300} and len(status["failures"]) == 5
        assert len(await asyncio.to_thread(bed.kubectl, "get", "tgr/r", "--output=json")) < 64 * 1024


async def test_a_graph_of_four_hundred_kibibytes_is_watched_and_run(bed: Bed) -> None:
    texts = [{"text": "x" * 300, "before": f"${{tasks.t{n - 1}.phase}}" if n else ""} for n in range(1000)]
    tasks = [{"name": f"t{n}", "value": value} for n, value in enumerate(texts)]
    async with bed.replica() as running:
        await bed.apply(graph("big", *tasks), run("r", "big"))
        status = await bed.phase("tgr/r", "Succeeded")
        assert status["progress"] == "1000/1000"
        await bed.until("tg/big", lambda status: status.get("phase") == "Succeeded")
        assert all(watcher.lists == 1 for watcher in running.link.watchers)
