"""The operator as a process: leaders, lost Leases, restarts, and what it leaves behind when it does not run."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis.asyncio import Redis

from arklex_operator.cluster.api import Api as Client
from arklex_operator.cluster.hub import Watch
from arklex_operator.cluster.store import Shelf
from arklex_operator.cluster.sweeper import Sweeper
from arklex_operator.handlers.watchdog import Watchdog
from arklex_operator.manifests.kinds import DEPLOYMENT, LEASE, TASK_GRAPH, WORKER
from tests.apiserver.api import Api, manifest
from tests.apiserver.operators import Operator, leading, operator
from tests.apiserver.workers import CHILDREN, IMAGES, SYSTEM, Space, account, until
from tests.controlplane import ControlPlane
from tests.controlplane import control_plane as running_control_plane
from tests.services import RedisServer

pytestmark = [pytest.mark.apiserver, pytest.mark.redis]


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with running_control_plane() as running:
        yield running


@pytest.fixture(scope="module")
def rights(plane: ControlPlane) -> Path:
    return account(plane)


@pytest.fixture
def api(plane: ControlPlane) -> Iterator[Api]:
    connection = Api(plane.kubeconfig)
    yield connection
    connection.close()


@pytest.fixture
def settings(redis_process: RedisServer) -> dict[str, str]:
    return leading(redis_process.url, IMAGES, 3)


def holder(api: Api) -> str:
    answer = api.call("GET", LEASE.path(SYSTEM, "arklex-operator"))
    return str(answer.body.get("spec", {}).get("holderIdentity") or "")


def leads(api: Api, process: Operator) -> bool:
    return holder(api).startswith(f"operator-{process.health}_")


def test_one_leads_and_another_takes_over_at_once(api: Api, rights: Path, settings: dict[str, str]) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(operator(rights, **settings))
        second = stack.enter_context(operator(rights, **settings))
        assert leads(api, first)
        assert first.metric("arklex_operator_leader") == 1 and second.metric("arklex_operator_leader") == 0
        assert first.stop() == 0
        until(lambda: leads(api, second), "the other leads", second)
        space = Space(api, api.namespace(), second)
        space.apply()
        space.until_children()


def test_a_killed_leader_is_followed_and_a_frozen_one_ends_itself(api: Api, rights: Path, settings: dict[str, str]) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(operator(rights, **settings))
        second = stack.enter_context(operator(rights, **settings))
        until(lambda: leads(api, first), "the first leads", first)
        first.process.send_signal(signal.SIGSTOP)
        until(lambda: leads(api, second), "the second leads", second)
        first.process.send_signal(signal.SIGCONT)
        assert first.process.wait(60) == 70
        third = stack.enter_context(operator(rights, **settings))
        second.stop(signal.SIGKILL)
        until(lambda: leads(api, third), "the third leads", third)


def test_sigterm_ends_a_standby_and_one_that_has_just_begun(api: Api, rights: Path, settings: dict[str, str]) -> None:
    with operator(rights, **settings), operator(rights, **settings) as standby:
        assert standby.stop() == 0
    with operator(rights, **settings) as leader:
        until(lambda: leads(api, leader), "it leads", leader)
        assert leader.stop() == 0
        assert holder(api) == ""


def test_nothing_waits_for_an_operator_that_does_not_run(api: Api, rights: Path, settings: dict[str, str]) -> None:
    with operator(rights, **settings) as process:
        space = Space(api, api.namespace(), process)
        space.apply()
        space.until_children()
    assert all("finalizers" not in (space.get(kind, "w-worker") or {})["metadata"] for kind in CHILDREN)
    space.delete(WORKER, "w")
    assert space.get(WORKER, "w") is None


def test_an_api_server_that_was_away_is_caught_up_with(
    plane: ControlPlane, api: Api, rights: Path, settings: dict[str, str]
) -> None:
    with operator(rights, **{**settings, "ARKLEX_LEADER_SECONDS": "3"}) as process:
        until(lambda: leads(api, process), "it leads", process)
        space = Space(api, api.namespace(), process)
        space.apply("before")
        space.until_children("before")
        plane.stop_apiserver()
        plane.start_apiserver()
        later = Space(Api(plane.kubeconfig), space.namespace, process)
        later.apply("after")
        later.until_children("after")
        assert process.process.poll() is None
        later.api.close()


def test_an_image_of_ours_rolls_one_worker_at_a_time(api: Api, rights: Path, settings: dict[str, str]) -> None:
    namespace = api.namespace()
    names = ("a", "b", "c")

    def image(name: str) -> str:
        found = space.get(DEPLOYMENT, f"{name}-worker") or {}
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"])

    def rolled() -> int:
        return sum(image(name).endswith(":2") for name in names)

    def until_rolled(count: int) -> None:
        until(lambda: rolled() >= count, f"{count} with the new image", space.process)

    def finish() -> None:
        """What a cluster with nodes would do: all pods are new and ready."""
        for name in names:
            found = space.get(DEPLOYMENT, f"{name}-worker") or {}
            count = dict.fromkeys(
                ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), found["spec"]["replicas"]
            )
            body = {"status": {**count, "observedGeneration": found["metadata"]["generation"]}}
            space.patch(DEPLOYMENT, f"{name}-worker", body, "status")

    only = {**settings, "ARKLEX_NAMESPACES": namespace}
    with operator(rights, **only) as process:
        space = Space(api, namespace, process)
        for name in names:
            space.apply(name, scaling={"minReplicas": 1})
            space.until_children(name)
        finish()
    with operator(rights, **{**only, "ARKLEX_IMAGES": IMAGES.replace("arklex/worker:1", "arklex/worker:2")}) as process:
        space = Space(api, namespace, process)
        for expected in (1, 2, 3):
            until_rolled(expected)
            time.sleep(1)
            assert rolled() == expected
            finish()


def test_a_rollout_of_the_operator_before_counts_before_its_worker_is_looked_at(
    api: Api, rights: Path, settings: dict[str, str]
) -> None:
    """More Workers than are reconciled at once; the last one is under way."""
    namespace, names = api.namespace(), [f"w{number}" for number in range(6)]
    only = {**settings, "ARKLEX_NAMESPACES": namespace}

    def images() -> list[str]:
        found = [space.get(DEPLOYMENT, f"{name}-worker") or {} for name in names]
        return [one["spec"]["template"]["spec"]["containers"][0]["image"].rpartition(":")[2] for one in found]

    with operator(rights, **only) as process:
        space = Space(api, namespace, process)
        for name in names:
            space.apply(name, scaling={"minReplicas": 1})
        for name in names:
            space.until_children(name)
    for name in names[:-1]:
        metadata = (space.get(DEPLOYMENT, f"{name}-worker") or {})["metadata"]
        status = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1)
        body = {"status": {**status, "observedGeneration": metadata["generation"]}}
        space.patch(DEPLOYMENT, f"{name}-worker", body, "status")
    with operator(rights, **{**only, "ARKLEX_IMAGES": IMAGES.replace("arklex/worker:1", "arklex/worker:2")}) as process:
        space = Space(api, namespace, process)
        until(lambda: "2" in images(), "one gets the new image", process)
        time.sleep(1)
        assert images() == ["1"] * 5 + ["2"], "the one that is under way anyway"


async def test_what_is_left_of_the_gone_is_swept(redis_url: str, plane: ControlPlane) -> None:
    client = Redis.from_url(redis_url)
    workers, graphs = Shelf(WORKER), Shelf(TASK_GRAPH)
    workers.put({"metadata": {"namespace": "lives", "name": "w", "uid": "1", "resourceVersion": "1"}})
    graphs.put({"metadata": {"namespace": "graphs", "name": "g", "uid": "2", "resourceVersion": "1"}})
    kept = {"arklex:{lives}:jobs:w", "arklex:{lives}:results", "arklex:{graphs}:results", "arklex:{far}:results", "other"}
    gone = {"arklex:{lives}:jobs:old", "arklex:{lives}:pods:old", "arklex:{dead}:results", "arklex:{dead}:cache:k"}
    for key in kept | gone:
        await client.set(key, "x")
    await client.acl_setuser("arklex-dead", enabled=True, nopass=True, keys=["arklex:{dead}:*"])
    await client.acl_setuser("arklex-admin", enabled=True, nopass=True, keys=["*"])
    removed: list[str] = []
    served = ("lives", "graphs", "dead", "admin")
    sweeper = Sweeper(client, workers, graphs, served, list, removed.append, patience=0.2)
    assert await sweeper.sweep() == 0
    await asyncio.sleep(0.3)
    assert await sweeper.sweep() == len(gone)
    assert {key.decode() async for key in client.scan_iter()} == kept
    assert removed == ["dead"]
    for name in ("arklex-dead", "arklex-admin"):
        await client.acl_deluser(name)
    await client.aclose()


async def test_a_client_says_why_it_has_no_answer(plane: ControlPlane) -> None:
    client = await Client.connect(kubeconfig=plane.kubeconfig)
    assert await client.get(WORKER, "default", "nobody") is None
    assert await client.delete(WORKER, "default", "nobody", uid="x") is False
    await client.aclose()


async def test_a_watch_that_shows_nothing_is_found_and_mended(plane: ControlPlane, api: Api) -> None:
    client, namespace = await Client.connect(kubeconfig=plane.kubeconfig), api.namespace()
    spec = {"type": "custom", "config": {"handler": "m:handle"}}
    for name in ("seen", "missed"):
        assert api.create(namespace, manifest("Worker", name, spec)).code == 201
    told: list[str] = []
    watch = Watch(Shelf(WORKER), changed=[lambda value: told.append(value["metadata"]["name"])])
    watch.take(None, api.get(namespace, "Worker", "seen"))
    watch.take(None, {"metadata": {"namespace": namespace, "name": "gone", "uid": "1", "resourceVersion": "1"}})
    told.clear()
    dog = Watchdog(client, [watch], [namespace], grace=0.0)
    await dog.compare(watch)
    assert (sorted(told), dog.dead) == (["gone", "missed"], None)
    assert watch.shelf.get(namespace, "gone") is None and watch.shelf.get(namespace, "missed") is not None
    assert api.create(namespace, manifest("Worker", "another", spec)).code == 201
    await dog.compare(watch)
    assert "the watch of Worker" in str(dog.dead)
    await dog.compare(watch)
    assert (dog.dead,) == (None,)
    await client.aclose()
