"""From an apply to a result in the object, on warm workers of a real cluster: ``python -m bench.cluster``.

Brings the tests' cluster up, installs the chart with SQLite, and creates TaskGraphs with ``spec.run``, one at a time: a chain
of five no-op tasks over one pod. Everything is measured with this machine's clock: when the create was sent, when the first
task started (the run's document), when a watch showed phase Succeeded.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from kubernetes import client, config, watch

from tests.cluster.__main__ import own_target
from tests.cluster.bed import cluster, space
from tests.cluster.bed.place import place
from tests.cluster.kube import Kube, graph, step, worker
from tests.cluster.release import SMALL, Release
from tests.cluster.target import target

GROUP = ("arklex.ai", "v1alpha1")
SYSTEM = "arklex-system"
SQLITE = {
    "journal": {"type": "sqlite", "sqlite": {"persistence": {"enabled": False}}},
    "runtime": {"autoscaling": {"enabled": False}},
}
WARM_UP = 2


def chain(name: str) -> dict[str, Any]:
    """Five tasks in a row."""
    tasks: list[dict[str, Any]] = []
    for n in range(5):
        before = [tasks[-1]["name"]] if tasks else []
        tasks.append(step(f"t{n}", "echo", *before, given={"n": n}))
    return graph(name, tasks, run={})


def once(api: client.CustomObjectsApi, pool: Kube, name: str) -> tuple[float, float, str]:
    """Epoch seconds at the create and at Succeeded, and the run's name."""
    began = time.time()
    api.create_namespaced_custom_object(*GROUP, pool.namespace, "taskgraphs", chain(name))
    stream = watch.Watch().stream(
        api.list_namespaced_custom_object,
        *GROUP,
        pool.namespace,
        "taskgraphs",
        field_selector=f"metadata.name={name}",
        timeout_seconds=60,
    )
    for event in stream:
        status = event["object"].get("status", {})
        if status.get("phase") == "Succeeded":
            return began, time.time(), str(status["lastRun"]["name"])
    raise TimeoutError(name)


def measure(release: Release, api: client.CustomObjectsApi, times: int) -> None:
    """Print the table."""
    kube = release.kube
    pool = kube.within(f"bench-{int(time.time())}")
    kube("create", "namespace", pool.namespace)
    try:
        handlers = Path(__file__).parents[1] / "tests/cluster/probe.py"
        pool("create", "configmap", "handlers", f"--from-file=probe.py={handlers}")
        pool.apply(worker("probe"))
        pool.until_condition("worker", "probe", "Available")
        first, whole = [], []
        for n in range(times + WARM_UP):
            began, ended, run = once(api, pool, f"chain-{n}")
            run_id = pool.status("taskgraphrun", run)["runId"]
            started = release.document(pool.namespace, run_id)["tasks"]["t0"]["startedAt"]
            if n >= WARM_UP:
                first.append(datetime.fromisoformat(started).timestamp() - began)
                whole.append(ended - began)
        for what, values in (("create → first task starts", first), ("create → Succeeded in the object", whole)):
            middle = statistics.median(values)
            print(f"{what:<34} median {middle:.2f} s   {min(values):.2f}–{max(values):.2f}   n={len(values)}", flush=True)
    finally:
        kube("delete", "namespace", pool.namespace, "--wait=false")


def inside(times: int) -> None:
    """The part that runs in the cluster's network."""
    here = target()
    with tempfile.TemporaryDirectory(prefix="arklex-") as name:
        kube = Kube((here.kubectl, f"--kubeconfig={here.kubeconfig}", f"--cache-dir={name}"), SYSTEM)
        kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
        helm = ("env", f"HOME={name}", here.helm, f"--kubeconfig={here.kubeconfig}")
        release = Release(helm, kube, None, "", here.address)
        release.install(SMALL, here.image_values(), SQLITE)
        connection = config.new_client_from_config(str(here.kubeconfig))
        measure(release, client.CustomObjectsApi(connection), times)


def main() -> int:
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=15, help="graphs to measure, after two to warm up")
    options = parser.parse_args()
    if os.environ.get("ARKLEX_TEST_KUBECONFIG"):
        inside(options.times)
        return 0
    here = place()
    kept = not cluster.ailments(here)
    try:
        environment = {**os.environ, **own_target(here).environment()}
        command = [sys.executable, "-m", "bench.cluster", f"--times={options.times}"]
        return subprocess.run(space.inside(here, command, mounts=False), env=environment, check=False).returncode
    finally:
        if not kept:
            cluster.down(here)


if __name__ == "__main__":
    sys.exit(main())
