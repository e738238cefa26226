"""The data plane in full, for waves of faults: PostgreSQL, Redis with its log, replicas of the runtime, pods of three Workers.

Replicas and pods reach Redis through a proxy that can half-open their connections, and each has a clock that can be set.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import yaml
from redis import Redis

from arklex_runtime.dispatch.streams.wire import Keys
from tests.faults.nursery import Nursery
from tests.faults.sizes import NIGHTLY
from tests.fleet import NAMESPACE, ROOT, Fleet, Replica, fleet, until
from tests.pods import Cluster, PodProcess, graph, worker
from tests.proxies import Proxy, proxy
from tests.services import PostgresServer, RedisServer, free_port, postgres_server, redis_server

T = TypeVar("T")
LEASE = 3.0
"""Seconds, of replicas and of pods."""
PATIENCE = 900.0 if NIGHTLY else 240.0
"""Seconds that a wave waits for what must happen, on a machine that does other things too."""
LOG = ("--appendonly", "yes", "--appendfsync", "everysec")
POOLS = {"work": "work", "thread": "block", "long": "work"}
"""Workers, and their handlers in ``tests.pod_handlers``: async, sync, and a pool that no fault of a pod hits."""
SLOTS = 64
"""Attempts that a pod runs at once."""
LINE = ["a", "b", "c", "d", "e"]
CLOCK = """
import os, time
_true = time.time
def _stepped():
    with open(os.environ["ARKLEX_TEST_CLOCK"]) as file:
        return _true() + float(file.read())
time.time = _stepped
"""


def _task(name: str, number: int, after: list[str], seconds: str | float) -> dict[str, object]:
    given = f"${{tasks.{after[0]}.output.number}}" if after else "${input.number}"
    pool = "thread" if number % 2 else "work"
    return {"name": name, "worker": pool, "action": "sleep", "dependsOn": after, "with": {"seconds": seconds, "number": given}}


def manifests() -> str:
    """Graphs whose output is their input's number: a line of five tasks, a wide one of eight, one of a single long task."""
    line = [_task(name, i, LINE[max(0, i - 1) : i], 0.2) for i, name in enumerate(LINE)]
    middle = [f"m{i}" for i in range(6)]
    wide = [_task("first", 0, [], 0.2), *(_task(name, i, ["first"], 0.4) for i, name in enumerate(middle))]
    wide.append(_task("last", 0, middle, 0.1))
    long = _task("long", 0, [], "${input.seconds}") | {"worker": "long"}
    specs = {"line": (line, "e"), "wide": (wide, "last"), "long": ([long], "long")}
    graphs = [graph(name, tasks=tasks, output=f"${{tasks.{last}.output.number}}") for name, (tasks, last) in specs.items()]
    workers = [worker(name, handler, concurrency=SLOTS) for name, handler in POOLS.items()]
    bodies = [each.model_dump(mode="json", by_alias=True, exclude_unset=True) for each in (*graphs, *workers)]
    return yaml.safe_dump_all(bodies)


@dataclass
class Stand:
    """Everything; ``pods`` are those that have not been killed, ``ports`` where they tell their metrics."""

    postgres: PostgresServer
    redis: RedisServer
    between: Proxy
    fleet: Fleet
    cluster: Cluster
    url: str
    pods: list[PodProcess] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def ledger(self) -> Path:
        """What handlers did, and what was acknowledged."""
        return self.cluster.ledger

    @property
    def replicas(self) -> list[Replica]:
        """Those of the runtime."""
        return self.fleet.replicas

    def start(self, replicas: int, pods: dict[str, int]) -> None:
        """Start so many, and wait until all are at work."""
        for number in range(replicas):
            self.fleet.add(wait=False, **self._clock(f"runtime-{number}"))
        for name, count in pods.items():
            for _ in range(count):
                self.add_pod(name)
        self.ready()

    def ready(self) -> None:
        """Wait until every replica and every pod can be given work."""
        for replica in self.replicas:
            until(replica.ready, replica.text, PATIENCE)
        for pod in self.pods:
            until(lambda pod=pod: pod.said("working") is not None, pod.log.read_text, PATIENCE)  # type: ignore[misc]

    def add_pod(self, name: str) -> PodProcess:
        """One more pod of a Worker."""
        pod = f"{name}-{len(self.cluster.pods)}"
        self.ports[pod] = free_port()
        own = {**self._clock(pod), "ARKLEX_METRICS_PORT": str(self.ports[pod])}
        made = self.cluster.pod(worker(name, POOLS[name], concurrency=SLOTS), pod, **own)
        self.pods.append(made)
        return made

    def kill_pod(self, pod: PodProcess) -> None:
        """Kill one (SIGKILL)."""
        self.pods.remove(pod)
        pod.process.kill()
        pod.process.wait()

    @property
    def _site(self) -> Path:
        return self.cluster.folder / "site"

    def _clock(self, process: str) -> dict[str, str]:
        file = self.cluster.folder / f"{process}.clock"
        file.write_text("0")
        paths = [self._site, *(ROOT / each for each in ("crds", "runtime", "operator"))]
        return {"ARKLEX_TEST_CLOCK": str(file), "PYTHONPATH": os.pathsep.join(map(str, paths))}

    def set_clock(self, process: str, seconds: float) -> None:
        """Set a process's wall clock to so many seconds ahead of the true time, at once."""
        file = self.cluster.folder / f"{process}.clock"
        file.with_suffix(".new").write_text(str(seconds))
        file.with_suffix(".new").rename(file)

    @contextlib.contextmanager
    def asked(self) -> Iterator[Redis]:
        """A connection to Redis, past the proxy."""
        with Redis(port=self.redis.port) as client:
            yield client

    @property
    def log_folder(self) -> Path:
        """Where Redis keeps its log."""
        return self.redis.folder / "appendonlydir"

    def restart_redis(self) -> None:
        """Start it again after a kill, with what its log has."""
        self.redis.start(*LOG)

    def forget_redis(self) -> None:
        """Remove its log, while it is down."""
        shutil.rmtree(self.log_folder)

    def tear_log(self, size: int) -> None:
        """Cut the log's last bytes off, while it is down: the last second of a machine that failed."""
        newest = max(self.log_folder.glob("*.incr.aof"), key=lambda path: path.stat().st_mtime)
        os.truncate(newest, max(0, newest.stat().st_size - size))

    def unfinished(self) -> int:
        """Runs that are not over, by the journal."""
        database = self.url.rpartition("/")[2]
        return int(self.postgres.psql("SELECT COUNT(*) FROM runs WHERE finished_at IS NULL", database))

    def left(self) -> dict[str, int]:
        """How many entries there are in each stream of Redis, empty ones left out."""
        keys = Keys(NAMESPACE)
        with self.asked() as client:
            found = {key: int(client.xlen(key)) for key in (keys.results, *(keys.jobs(name) for name in POOLS))}
        return {key: count for key, count in found.items() if count}

    def silences(self) -> int:
        """How often a pod says that it could not beat for a lease: then its attempts may have been given to others."""
        return sum(str(line.get("event")).startswith("was silent") for pod in self.cluster.pods for line in pod.lines())

    def counted(self, series: str) -> float:
        """The sum of a metric over the replicas."""
        return sum(patiently(replica.metrics).get(series, 0.0) for replica in self.replicas)

    def busiest(self) -> Replica:
        """The replica that drives most runs."""
        return max(self.replicas, key=lambda replica: patiently(replica.metrics)["arklex_runs_active"])

    def succeeded(self) -> float:
        """Attempts that pods say went well."""

        def ask(pod: PodProcess) -> list[str]:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[pod.name]}/metrics", timeout=10) as answer:
                return [line.decode() for line in answer]

        lines = [line for pod in self.pods for line in patiently(partial(ask, pod)) if 'outcome="succeeded"' in line]
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("arklex_worker_attempts_total"))

    def logs(self) -> str:
        """The last words of all replicas and pods."""
        texts = [replica.log for replica in self.replicas] + [pod.log for pod in self.cluster.pods]
        return "\n".join(f"── {path.name}\n" + "\n".join(path.read_text().splitlines()[-15:]) for path in texts)


@contextlib.contextmanager
def stand(folder: Path, replicas: int, pods: dict[str, int]) -> Iterator[Stand]:
    """All of it, started, and gone when the context ends."""
    (folder / "site").mkdir()
    (folder / "site/sitecustomize.py").write_text(CLOCK)
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(postgres_server())
        server = stack.enter_context(redis_server(*LOG))
        between = stack.enter_context(proxy(server.port))
        url, through = postgres.database("faults"), f"redis://127.0.0.1:{between.port}/0"
        made = stack.enter_context(fleet(folder, manifests(), url, through, ARKLEX_LEASE_SECONDS=str(LEASE)))
        (folder / "nursery.clock").write_text("0")
        path = os.pathsep.join([str(folder / "site"), *sys.path])
        nursery = Nursery({"PYTHONPATH": path, "ARKLEX_TEST_CLOCK": str(folder / "nursery.clock")})
        cluster = Cluster(through, folder, LEASE, NAMESPACE, launch=stack.enter_context(nursery).start)
        stack.callback(cluster.close)
        found = Stand(postgres, server, between, made, cluster, url)
        found.start(replicas, pods)
        yield found


def patiently(ask: Callable[[], T]) -> T:
    """The answer of a process that may be slow to answer."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except OSError:
            assert time.monotonic() < deadline, "it never answers"
            time.sleep(0.1)


def resume(process: PodProcess | Replica) -> None:
    """SIGCONT."""
    if isinstance(process, Replica):
        process.send(signal.SIGCONT)
    else:
        process.signal(signal.SIGCONT)
