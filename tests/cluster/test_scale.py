"""Many TaskGraphs and Workers at once: what accepting them takes, and that afterwards nothing writes.

150 TaskGraphs and 30 Workers here, 1,000 and 200 with ARKLEX_FAULTS=nightly. The table of what it took is printed, and written
to the file that ARKLEX_SCALE_REPORT names.
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.audit import Audit, Write, counted
from tests.cluster.bed.place import place
from tests.cluster.kube import Kube, Object, graph, run_of, step, worker
from tests.cluster.release import Release
from tests.faults.sizes import NIGHTLY

GRAPHS, WORKERS = (1000, 200) if NIGHTLY else (150, 30)
PATIENCE = 1500.0 if NIGHTLY else 600.0
"""Seconds after which what is not accepted will not be, on a machine that does other things too."""
QUIET = 120.0
"""Seconds for which none of our accounts may write, leases apart."""
SETTLING = 180.0
"""Seconds within which those writes must end that are still due."""
NOWHERE = {"arklex.ai/no-node-has-this": "true"}


def far_worker(number: int) -> Object:
    """A Worker whose one pod no node takes."""
    one = worker(f"w{number:03}", scaling={"minReplicas": 1, "maxReplicas": 3})
    one["spec"]["template"]["spec"]["nodeSelector"] = NOWHERE
    return one


def chain(number: int) -> Object:
    """A TaskGraph of five tasks over a far Worker; it has no run."""
    name = f"w{number % WORKERS:03}"
    first = step("t0", worker=name, given={"n": number})
    more = [step(f"t{n}", "echo", f"t{n - 1}", worker=name, given={"n": f"${{tasks.t{n - 1}.output.n}}"}) for n in range(1, 5)]
    return graph(f"g{number:04}", [first, *more])


def create(space: Kube, objects: list[Object]) -> None:
    """Create them by four kubectls side by side."""

    def part(number: int) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects[number::4]})
        space("create", "--output=name", "--filename=-", stdin=text, patience=300)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(part, range(4)))


def accepted(space: Kube, kind: str) -> int:
    """How many of the kind say that they are accepted."""
    path = '{range .items[*]}{.status.conditions[?(@.type=="Accepted")].status}{"\\n"}{end}'
    return space("get", kind, f"--output=jsonpath={path}").split().count("True")


def resident(release: Release) -> dict[str, list[int]]:
    """MiB resident in the release's pods as the kubelet counts them, the largest first, by component."""
    (node,) = release.kube.all("nodes")
    path = f"/api/v1/nodes/{node['metadata']['name']}/proxy/stats/summary?only_cpu_and_memory=true"
    found: dict[str, list[int]] = {}
    for pod in json.loads(release.kube("get", "--raw", path))["pods"]:
        if pod["podRef"]["namespace"] == release.namespace:
            component = pod["podRef"]["name"].removeprefix(f"{release.fullname}-").split("-")[0]
            size = sum(one["memory"].get("rssBytes", 0) for one in pod["containers"])
            found[component] = sorted([*found.get(component, []), size // 2**20], reverse=True)
    return found


def finished_runs(space: Kube) -> None:
    """A Worker that works, two TaskGraphs on it, and runs that have ended, one of them badly."""
    space.apply(worker("probe"), graph("good", [step("a")], run={}), graph("bad", [step("a", "fail")]))
    space.until_phase("taskgraph", "good", ["Succeeded"])
    space.create(run_of("bad-1", "bad"))
    space.until_phase("taskgraphrun", "bad-1", ["Failed"])


def until_quiet(log: Audit, accounts: list[str]) -> list[Write]:
    """Wait until nobody of ours has written for QUIET seconds; returns what was written before."""
    began = time.monotonic()
    seen, since = log.writes(accounts), began
    while time.monotonic() < since + QUIET:
        time.sleep(2)
        now = log.writes(accounts)
        if len(now) > len(seen):
            late = [str(one) for one in now[len(seen) :]]
            assert time.monotonic() < began + SETTLING, f"still written after {SETTLING:.0f} s: {late}"
            seen, since = now, time.monotonic()
    return seen


def since(one: Write, other: Write) -> float:
    """Seconds from one write to another."""
    return round((other.at - one.at).total_seconds(), 1)


def told(found: dict[str, Any], terminal: pytest.CaptureFixture[str]) -> None:
    """Print the figures as JSON though the test passes, and keep them where the environment says."""
    text = json.dumps(found, indent=1)
    with terminal.disabled():
        print(text)
    if path := os.environ.get("ARKLEX_SCALE_REPORT"):
        Path(path).write_text(text + "\n")


def test_many_are_accepted_and_then_nothing_writes(release: Release, space: Kube, capsys: pytest.CaptureFixture[str]) -> None:
    finished_runs(space)
    ours, tenants = f"system:serviceaccount:{release.namespace}:", f"system:serviceaccount:{space.namespace}:"
    log, before = Audit(place().audit_log), resident(release)
    create(space, [far_worker(number) for number in range(WORKERS)])
    create(space, [chain(number) for number in range(GRAPHS)])
    space.until(lambda: accepted(space, "workers") == WORKERS + 1, "all Workers are accepted", PATIENCE, pause=2)
    space.until(lambda: accepted(space, "taskgraphs") == GRAPHS + 2, "all TaskGraphs are accepted", PATIENCE, pause=2)
    created = log.writes(["admin"])
    writes = until_quiet(log, [ours, tenants])
    judged = [one for one in writes if one.what in ("taskgraphs/status", "workers/status")]
    first = {(one.what, one.name): one for one in reversed(judged)}
    told(
        {
            "graphs": GRAPHS,
            "workers": WORKERS,
            "created_s": since(created[0], created[-1]),
            "judged_s": since(created[0], max(first.values(), key=lambda one: one.at)),
            "last_status_s": since(created[0], max(judged, key=lambda one: one.at)),
            "writes": counted(writes),
            "mib_before": before,
            "mib_after": resident(release),
        },
        capsys,
    )
    assert {one.name for one in judged} >= {f"g{number:04}" for number in range(GRAPHS)}
