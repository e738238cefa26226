"""SIGTERM at moments chosen by a seed, from the first instruction on: the operator ends, and gives the Lease back.

Eight operators here, 96 with ARKLEX_FAULTS=nightly.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from arklex_operator.cluster.api import Api as Client
from arklex_operator.cluster.leader import Leader
from arklex_operator.manifests.kinds import LEASE, Object
from tests.apiserver.api import Api
from tests.apiserver.operators import Operator
from tests.apiserver.workers import IMAGES, SYSTEM
from tests.controlplane import ControlPlane
from tests.faults.sizes import NIGHTLY
from tests.services import RedisServer

pytestmark = [pytest.mark.apiserver, pytest.mark.redis]

SEED = 20261126
AT_ONCE = 8
PATIENCE = 180.0
ROUNDS = 12 if NIGHTLY else 1


def holder(api: Api, name: str) -> str:
    answer = api.call("GET", LEASE.path(SYSTEM, name))
    return str(answer.body.get("spec", {}).get("holderIdentity") or "")


def moments(process: Operator, chance: random.Random, leading: bool) -> Iterator[None]:
    """Steps until the moment: up to three seconds after the start, or soon after it has begun to lead."""
    given_up = time.monotonic() + PATIENCE
    while leading and b'"leading"' not in process.log_file.read_bytes() and time.monotonic() < given_up:
        yield
    moment = time.monotonic() + (chance.expovariate(4) if leading else chance.uniform(0, 3))
    while time.monotonic() < moment:
        yield
    process.process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_it_ends_whenever_it_is_told_to(
    control_plane: ControlPlane, api: Api, redis_process: RedisServer, tmp_path: Path, number: int
) -> None:
    chance = random.Random(SEED + number)
    settings = {"ARKLEX_REDIS_URL": redis_process.url, "ARKLEX_REDIS_ACL": "managed", "ARKLEX_IMAGES": IMAGES}
    settings["ARKLEX_LEADER_SECONDS"] = "300"
    with ExitStack() as stack:
        each = [Operator(control_plane.kubeconfig, tmp_path / f"{index}.log", settings) for index in range(AT_ONCE)]
        for process in each:
            stack.callback(process.stop, signal.SIGKILL)
        steps = [moments(process, chance, index % 4 > 0) for index, process in enumerate(each)]
        while steps:
            steps = [step for step in steps if next(step, step) is None]
            time.sleep(0.002)
        ends = [process.process.wait(PATIENCE) for process in each]
    at_start = [index for index, code in enumerate(ends) if code == -signal.SIGTERM and not each[index].log()]
    assert [(index, code, each[index].log()) for index, code in enumerate(ends) if code and index not in at_start] == []
    assert [holder(api, process.lease) for process in each] == [""] * AT_ONCE
    assert sum('"leading"' in process.log() for process in each) >= AT_ONCE // 2


class Late(Client):
    """Carries writes out, and never hears of it."""

    written: asyncio.Event

    async def create(self, value: Object) -> Object | None:
        await super().create(value)
        return await self.never()

    async def replace(self, value: Object) -> Object:
        await super().replace(value)
        return await self.never()

    async def never(self) -> Object:
        self.written.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable: nobody sets it")


@pytest.mark.parametrize("there_is_one", [False, True])
async def test_a_lease_is_given_back_although_its_taking_was_cut_off(
    control_plane: ControlPlane, api: Api, namespace: str, there_is_one: bool
) -> None:
    prompt = await Client.connect(kubeconfig=control_plane.kubeconfig)
    late = await Late.connect(kubeconfig=control_plane.kubeconfig)
    assert isinstance(late, Late)
    late.written = asyncio.Event()
    if there_is_one:
        before = Leader(prompt, namespace, "lease", "before", 6.0)
        await before.acquire()
        await before.release()
    leader = Leader(late, namespace, "lease", "me", 6.0)
    taking = asyncio.create_task(leader.acquire())
    await late.written.wait()
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)

    def held() -> str:
        return str(api.call("GET", LEASE.path(namespace, "lease")).body["spec"]["holderIdentity"])

    assert held() == leader.identity
    await leader.release()
    assert held() == ""
    await late.aclose()
    await prompt.aclose()
