"""The API server goes away, forgets, hangs: runs go on, and what was missed is made up for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from arklex_runtime.kube.api import GRAPHS, RUNS, Api
from arklex_runtime.kube.errors import ApiError, ApiGone, ApiUnreachable
from tests.controlplane import ControlPlane, control_plane
from tests.integration.kube.bed import Bed, Gate, call, eventually, graph, run, worker
from tests.integration.kube.proxy import proxy

pytestmark = pytest.mark.apiserver


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with control_plane() as made:
        yield made


@pytest.fixture
def bed(plane: ControlPlane, tmp_path: Path) -> Bed:
    return Bed(plane, tmp_path)


async def restart(plane: ControlPlane) -> None:
    await asyncio.to_thread(plane.stop_apiserver)
    await asyncio.to_thread(plane.start_apiserver)


async def test_runs_go_on_while_the_api_server_is_gone_and_are_shown_afterwards(bed: Bed) -> None:
    gate = Gate()
    async with bed.replica(gate=gate) as running:
        names = [f"r{n}" for n in range(10)]
        await bed.apply(worker("gate"), graph("g", call("wait", "gate")), *(run(name, "g") for name in names))
        for name in names:
            await bed.phase(f"tgr/{name}", "Running")
        await asyncio.to_thread(bed.plane.stop_apiserver)
        gate.open.set()
        for name in names:
            await running.until_phase(name, "Succeeded")
        await asyncio.sleep(3)
        assert running.link.healthy and len(running.link.reports) <= len(names) + 1
        await asyncio.to_thread(bed.plane.start_apiserver)
        for name in names:
            await bed.phase(f"tgr/{name}", "Succeeded")
        await bed.until("tg/g", lambda status: status.get("runs", {}).get("succeeded") == len(names))


async def test_what_changed_behind_a_cut_is_seen_after_a_watch_that_expired(bed: Bed, tmp_path: Path) -> None:
    gate = Gate()
    async with proxy(bed.plane, tmp_path) as (line, kubeconfig), bed.replica(kubeconfig=kubeconfig, gate=gate) as running:
        await bed.apply(worker("gate"), graph("g", call("wait", "gate")), graph("other", call("wait", "gate")))
        await bed.apply(run("gone", "g"), run("orphan", "other"), run("stays", "g"))
        for name in ("gone", "orphan", "stays"):
            await bed.phase(f"tgr/{name}", "Running")
        before = {watcher.kind.name: watcher.lists for watcher in running.link.watchers}
        line.cut()
        await bed.delete("tgr/gone")
        await bed.delete("tg/other")
        await bed.apply(run("new", "g"))
        await restart(bed.plane)
        line.mend()
        await running.until_phase("gone", "Cancelled")
        await running.until_phase("orphan", "Cancelled")
        await bed.phase("tgr/orphan", "Cancelled")
        await bed.phase("tgr/new", "Running")
        after = {watcher.kind.name: watcher.lists for watcher in running.link.watchers}
        assert after["TaskGraphRun"] > before["TaskGraphRun"]
        gate.open.set()
        await bed.phase("tgr/stays", "Succeeded")


async def test_deletes_that_no_replica_saw_are_found_at_the_start(bed: Bed) -> None:
    gate = Gate()
    async with bed.replica("r1", gate=gate):
        await bed.apply(worker("gate"), graph("g", call("wait", "gate")), run("gone", "g"), run("stays", "g"))
        await bed.phase("tgr/gone", "Running")
        await bed.phase("tgr/stays", "Running")
    await bed.delete("tgr/gone")
    async with bed.replica("r2", gate=gate) as running:
        for name in ("gone", "stays"):
            await running.replica.resume(name)
        await running.until_phase("gone", "Cancelled")
        gate.open.set()
        await bed.phase("tgr/stays", "Succeeded")


async def test_an_api_server_that_hangs_holds_nothing_up(bed: Bed) -> None:
    async with bed.replica() as running:
        await bed.apply(worker("echo"), graph("g", call("a")))
        await running.until_known(bed.namespace, "g", "echo")
        bed.plane.pause_apiserver(True)
        try:
            await asyncio.sleep(2)
        finally:
            bed.plane.pause_apiserver(False)
        await bed.apply(run("r", "g"))
        await bed.phase("tgr/r", "Succeeded")
        assert running.link.healthy


async def test_a_version_that_is_forgotten_is_gone_and_a_server_that_is_away_is_unreachable(bed: Bed) -> None:
    api = await Api.connect(bed.plane.kubeconfig)

    async def there() -> bool:
        try:
            return len((await api.list(RUNS, bed.namespace))[0]) == 1
        except ApiError as error:
            if not error.retryable:
                raise
            return False

    async def gone() -> bool:
        try:
            async for _ in api.watch(RUNS, bed.namespace, "1"):
                pass
        except ApiGone:
            return True
        except ApiError as error:
            if not error.retryable:
                raise
        return False

    try:
        await bed.apply(worker("echo"), graph("g", call("a")), run("r", "g"))
        await restart(bed.plane)
        await eventually(there)
        await eventually(gone)
        await asyncio.to_thread(bed.plane.stop_apiserver)
        with pytest.raises(ApiUnreachable):
            await api.list(RUNS, bed.namespace)
        await asyncio.to_thread(bed.plane.start_apiserver)
        await eventually(there)
    finally:
        await api.aclose()


async def test_only_the_counts_of_graphs_that_are_gone_are_forgotten(bed: Bed) -> None:
    """A graph that no watch has told of yet is asked for; another installation's is not ours to judge."""
    async with bed.replica() as running:
        await bed.apply(worker("echo"), *(graph(name, call("a", "echo")) for name in ("known", "unheard")))
        for name in ("known", "unheard"):
            await running.until_known(bed.namespace, name, "echo")
        uids = {name: str((await bed.get(f"tg/{name}"))["metadata"]["uid"]) for name in ("known", "unheard")}
        kept = [(uids[name], bed.namespace, name) for name in uids] + [("foreign", "elsewhere", "known")]
        bed.world.counted = [*kept, ("earlier", bed.namespace, "known"), ("gone", bed.namespace, "gone")]
        running.link.objects.remove(GRAPHS, bed.namespace, "unheard", uids["unheard"])
        await running.link.forget_remains()
        assert bed.world.counted == kept
