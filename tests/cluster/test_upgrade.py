"""Other images for everything, and back again, under runs in flight (reliability.md, T14)."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from pathlib import Path

from tests.cluster.kube import ENDED, Kube, Object, graph, step, worker
from tests.cluster.ledger import LedgerServer, ledger_server
from tests.cluster.release import Release
from tests.cluster.target import UPGRADED, Target
from tests.cluster.traffic import Traffic
from tests.cluster.watching import Rollouts
from tests.faults.checker import check
from tests.faults.ledger import BEGIN, read_ledger

POOLS = ("one", "two", "three")
PATIENCE = 240


def pool(name: str, ledger: LedgerServer) -> Object:
    made = worker(name, scaling={"minReplicas": 1, "maxReplicas": 1}, concurrency=8)
    made["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "LEDGER", "value": ledger.url}]
    return made


def chain() -> Object:
    """One effect on each pool, longer than a request and shorter than a drain."""
    tasks: list[Object] = []
    for name in POOLS:
        before = [tasks[-1]["name"]] if tasks else []
        tasks.append(step(f"on-{name}", "effect", *before, worker=name, given={"ms": 1500}))
    return graph("chain", tasks)


def images(release: Release, space: Kube) -> set[tuple[str, str]]:
    """What pods there are, also those on their way out: (component, image)."""
    ours = "app.kubernetes.io/component in (operator,metrics,runtime)"
    pods = release.kube.all("pods", f"--selector=app.kubernetes.io/instance={release.name},{ours}")
    named = [(pod["metadata"]["labels"]["app.kubernetes.io/component"], pod) for pod in pods]
    named += [("worker", pod) for pod in space.all("pods", "--selector=arklex.ai/worker")]
    return {(name, container["image"]) for name, pod in named for container in pod["spec"]["containers"]}


def ready(space: Kube, name: str) -> bool:
    return bool(space.status("worker", name).get("readyReplicas"))


def ended(release: Release, space: Kube, run: str) -> bool:
    return release.document(space.namespace, run)["phase"] in ENDED


def test_other_images_come_and_go_and_no_task_is_lost_or_repeated(
    release: Release, space: Kube, target: Target, tmp_path: Path
) -> None:
    def until_all_are_of(suffix: str) -> None:
        operator, runtime, custom = (target.images[name + suffix] for name in UPGRADED)
        wanted = {("operator", operator), ("metrics", operator), ("runtime", runtime), ("worker", custom)}
        space.until(lambda: images(release, space) == wanted, f"every pod is of {wanted}", PATIENCE)

    with ledger_server(tmp_path / "ledger", release.node_address) as ledger:
        space.apply(*(pool(name, ledger) for name in POOLS), chain())
        for name in POOLS:
            space.until(partial(ready, space, name), f"{name} is ready")
        space.until_condition("taskgraph", "chain", "WorkersReady")
        with Rollouts(space) as rollouts, Traffic(release, space.namespace, "chain", len(POOLS), ledger) as traffic:
            space.until(lambda: traffic.in_flight() == traffic.at_once, "runs are in flight")
            release.install(target.next_values())
            until_all_are_of("-next")
            space.until(lambda: traffic.in_flight() == traffic.at_once, "runs are in flight again")
            release.rollback()
            until_all_are_of("")
        for run in traffic.runs:
            space.until(partial(ended, release, space, run), f"{run} ends")
        found = asyncio.run(check(release.journal_url, ledger.path, remote=True))
        begun = Counter((entry.run, entry.task) for entry in read_ledger(ledger.path) if entry.kind == BEGIN)
    assert not found.violations, "\n".join(found.violations)
    assert (found.runs, found.succeeded) == (len(traffic.runs), len(traffic.runs))
    assert set(begun.values()) == {1} and len(begun) == len(POOLS) * len(traffic.runs), "every task ran, and ran once"
    assert not traffic.failures, f"of {traffic.requests} requests, in {len(traffic.failures)} cases: {traffic.failures[:9]}"
    assert sorted(rollouts.rolled) == sorted(2 * [f"{name}-worker" for name in POOLS])
    assert rollouts.most <= max(1, len(space.all("workers", "--all-namespaces")) // 10), rollouts.rolled
