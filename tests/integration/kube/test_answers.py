"""What the API server refuses, and what connections end in the middle: every run ends and is shown (T12 of reliability.md)."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.apiserver.meddling import Faults
from tests.apiserver.proxy import proxy
from tests.controlplane import ControlPlane
from tests.faults.checker import Tally
from tests.faults.report import keep
from tests.faults.sizes import NIGHTLY
from tests.integration.kube.bed import Bed, call, graph, run, worker

pytestmark = pytest.mark.apiserver

SEED = 120
FAULTS, RUNS = (400, 400) if NIGHTLY else (40, 20)


async def test_no_run_is_lost_where_the_api_server_refuses_and_cuts(control_plane: ControlPlane, tmp_path: Path) -> None:
    bed = Bed(control_plane, tmp_path)
    ran: list[str] = []
    with proxy(control_plane.kubeconfig, tmp_path) as (found, kubeconfig):
        faults = found.meddler = Faults(random.Random(SEED), FAULTS)
        async with bed.replica(kubeconfig=kubeconfig, count=lambda inputs: ran.append(inputs["n"])) as running:
            await bed.apply(worker("count"), graph("g", call("a", "count", {"n": "${input.n}"})))
            names = [f"r{number}" for number in range(RUNS)]
            for start in range(0, RUNS, 10):
                await bed.apply(*(run(name, "g", input={"n": name}) for name in names[start : start + 10]))
            for name in names:
                await bed.phase(f"tgr/{name}", "Succeeded")
            await bed.until("tg/g", lambda status: status.get("runs", {}).get("succeeded") == RUNS)
            assert sorted(ran) == sorted(names)
            assert running.link.healthy
    assert sum(faults.landed.values()) > FAULTS // 2 and {"409", "429", "500", "503", "cut"} <= faults.landed.keys()
    assert found.requests < 40 * RUNS
    keep("T12-runtime", Tally(Counter(faults.landed), runs=RUNS, succeeded=len(set(ran))))
