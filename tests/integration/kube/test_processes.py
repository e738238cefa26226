"""Whole runtime processes over PostgreSQL, Redis and a real API server: the owner of a run dies, and the run goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.apiserver.operators import operator
from tests.controlplane import ControlPlane
from tests.integration.kube.bed import Bed, conditions, eventually, graph, run
from tests.services import free_port

pytestmark = [pytest.mark.apiserver, pytest.mark.postgresql, pytest.mark.redis]

ROOT = Path(__file__).resolve().parents[3]
CHECK = {"name": "check", "approval": {"message": "go?"}}


class Process:
    """One ``arklex runtime``."""

    def __init__(self, name: str, environ: dict[str, str], log: Path) -> None:
        self.name = name
        self.ops = free_port()
        self._log = log
        paths = os.pathsep.join(str(ROOT / each) for each in ("crds", "runtime"))
        ports = {"ARKLEX_DOOR_PORT": "0", "ARKLEX_METRICS_PORT": str(self.ops), "POD_NAME": name, "PYTHONPATH": paths}
        with log.open("ab") as out:
            command = [sys.executable, "-m", "arklex_runtime.cli", "runtime"]
            self._process = subprocess.Popen(command, env=os.environ | environ | ports, stdout=out, stderr=out)

    def stop(self, how: signal.Signals = signal.SIGKILL) -> int:
        """End it; returns the exit code."""
        if self._process.poll() is None:
            self._process.send_signal(how)
        return self._process.wait(60)

    async def answers(self, path: str) -> str:
        """What it answers, empty if it does not."""
        assert self._process.poll() is None, self._log.read_text()[-4000:]
        with contextlib.suppress(OSError):
            url = f"http://127.0.0.1:{self.ops}/{path}"
            return str(await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read().decode()) or "ok")
        return ""

    async def ready(self) -> None:
        """Wait until it is."""

        async def holds() -> bool:
            return bool(await self.answers("readyz"))

        await eventually(holds)

    async def drives(self) -> int:
        """How many runs it drives."""
        lines = (await self.answers("metrics")).splitlines()
        return int(float(next(line for line in lines if line.startswith("arklex_runs_active ")).split()[1]))


@pytest.fixture
async def pair(
    control_plane: ControlPlane, tmp_path: Path, postgres_url: str, redis_url: str
) -> AsyncIterator[tuple[Bed, list[Process]]]:
    bed = Bed(control_plane, tmp_path)
    (tmp_path / "token").write_text("a-token")
    environ = {
        "ARKLEX_JOURNAL_URL": postgres_url,
        "ARKLEX_REDIS_URL": redis_url,
        "ARKLEX_DOOR_TOKEN_FILE": str(tmp_path / "token"),
        "ARKLEX_KUBECONFIG": str(bed.account()),
        "ARKLEX_NAMESPACES": bed.namespace,
        "ARKLEX_LEASE_SECONDS": "3",
        "POD_NAMESPACE": bed.namespace,
    }
    processes: list[Process] = []
    try:
        for number in range(2):
            processes.append(Process(f"runtime-{number}", environ, tmp_path / f"runtime-{number}.log"))
            await processes[-1].ready()
        yield bed, processes
    finally:
        for process in processes:
            process.stop()


async def test_a_run_whose_owner_is_killed_goes_on_and_is_shown(pair: tuple[Bed, list[Process]]) -> None:
    bed, processes = pair
    await bed.apply(graph("g", CHECK, output="${tasks.check.output.approved}"), run("r", "g"))
    await bed.until("tgr/r", lambda status: status.get("approvals") == ["check"])
    owner = processes[0] if await processes[0].drives() else processes[1]
    owner.stop(signal.SIGKILL)
    assert "r" in await bed.event("r", "RunTakenOver")
    await bed.patch("tgr/r", {"spec": {"approvals": [{"task": "check", "approved": True, "by": "ada"}]}})
    status = await bed.phase("tgr/r", "Succeeded")
    assert status["output"] == "true" and conditions(status)["Completed"] == ("True", "Succeeded")
    shown = await bed.until("tg/g", lambda status: status.get("runs", {}).get("succeeded") == 1)
    assert shown["runs"] == {"active": 0, "succeeded": 1, "failed": 0}


async def test_many_runs_over_two_processes_are_each_run_once_and_survive_a_rollout(pair: tuple[Bed, list[Process]]) -> None:
    bed, processes = pair
    value = graph(
        "value", {"name": "a", "value": 1}, {"name": "b", "value": "${tasks.a.output + 1}"}, output="${tasks.b.output}"
    )
    names = [f"v{n}" for n in range(20)]
    waiting = [f"w{n}" for n in range(6)]
    await bed.apply(value, graph("wait", CHECK))
    await bed.apply(*(run(name, "value") for name in names), *(run(name, "wait") for name in waiting))
    for name in names:
        assert (await bed.phase(f"tgr/{name}", "Succeeded"))["output"] == "2"
    for name in waiting:
        await bed.until(f"tgr/{name}", lambda status: status.get("approvals") == ["check"])
    assert processes[0].stop(signal.SIGTERM) == 0
    for name in waiting:
        await bed.patch(f"tgr/{name}", {"spec": {"approvals": [{"task": "check", "approved": True}]}})
    for name in waiting:
        await bed.phase(f"tgr/{name}", "Succeeded")
    await bed.until("tg/value", lambda status: status.get("runs") == {"active": 0, "succeeded": 20, "failed": 0})
    await bed.until("tg/wait", lambda status: status.get("runs") == {"active": 0, "succeeded": 6, "failed": 0})
    assert 'arklex_kube_lists_total{kind="TaskGraph"} 1.0' in await processes[1].answers("metrics")


async def test_a_run_is_cancelled_and_deleted_whoever_drives_it(pair: tuple[Bed, list[Process]]) -> None:
    bed, processes = pair
    await bed.apply(graph("g", CHECK), run("cancelled", "g"), run("deleted", "g"))
    for name in ("cancelled", "deleted"):
        await bed.until(f"tgr/{name}", lambda status: bool(status.get("approvals")))
    await bed.patch("tgr/cancelled", {"spec": {"cancel": True}})
    await bed.delete("tgr/deleted")
    await bed.phase("tgr/cancelled", "Cancelled")
    await bed.until("tg/g", lambda status: status.get("runs") == {"active": 0, "succeeded": 0, "failed": 2})
    assert [await each.drives() for each in processes] == [0, 0]


async def test_a_graph_with_a_run_is_completed_by_operator_and_runtime_and_then_all_is_quiet(
    pair: tuple[Bed, list[Process]],
) -> None:
    bed, _ = pair
    chain = [{"name": f"t{n}", "value": n, "dependsOn": [f"t{n - 1}"] if n else []} for n in range(5)]
    with operator(bed.plane.kubeconfig, ARKLEX_NAMESPACES=bed.namespace):
        began = time.monotonic()
        await bed.apply(graph("chain5", *chain, output="${tasks.t4.output}", run={}))
        await bed.until("tg/chain5", lambda status: conditions(status).get("Completed") == ("True", "Succeeded"))
        print(f"chain5 from apply to Completed: {time.monotonic() - began:.2f} s")
        await asyncio.to_thread(bed.kubectl, "wait", "--for=condition=Completed", "--timeout=30s", "taskgraph/chain5")
        await bed.apply(graph("chain5", *chain, output="${tasks.t3.output}", run={}))
        await asyncio.to_thread(bed.kubectl, "wait", "--for=condition=Completed", "--timeout=60s", "taskgraph/chain5")
        shown = await bed.status("tg/chain5")
        assert shown["lastRun"]["output"] == "3" and shown["runs"]["succeeded"] == 2
        await asyncio.sleep(5)
        before = [each for each in bed.writes() if each["resource"] != "leases"]
        await asyncio.sleep(15)
        assert [each for each in bed.writes() if each["resource"] != "leases"] == before
