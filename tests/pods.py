"""The distributed path in tests: hosts in this process, worker pods as processes, a real Redis between them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import orjson

from arklex_api.base import API_VERSION
from arklex_api.taskgraph import TaskGraph
from arklex_api.worker import Worker
from arklex_runtime.dispatch.streams.dispatcher import StreamsDispatcher
from arklex_runtime.dispatch.streams.link import Address, Link
from arklex_runtime.dispatch.streams.wire import Attempt, JobMessage, Keys, identity
from arklex_runtime.engine.program import Program
from arklex_runtime.orchestrator.driver import RunDriver
from arklex_runtime.orchestrator.host import RunHost
from arklex_runtime.orchestrator.remote import RemoteBench
from arklex_runtime.orchestrator.requests import Request
from arklex_runtime.state.journal import open_journal
from arklex_runtime.state.results import ResultCache

PATIENCE = 90.0
"""Seconds that a test waits for what must happen, on a machine that does other things too."""


def worker(name: str = "work", handler: str = "work", **spec: Any) -> Worker:
    """A Worker of type custom whose handler is in ``tests.pod_handlers``."""
    body = {"type": "custom", "config": {"handler": f"tests.pod_handlers:{handler}"}, **spec}
    return Worker.model_validate({"apiVersion": API_VERSION, "kind": "Worker", "metadata": {"name": name}, "spec": body})


def graph(name: str = "graph", **spec: Any) -> TaskGraph:
    """A TaskGraph."""
    return TaskGraph.model_validate({"apiVersion": API_VERSION, "kind": "TaskGraph", "metadata": {"name": name}, "spec": spec})


def program(graph_: TaskGraph, *workers: Worker, namespace: str = "default") -> Program:
    """The graph with Workers, in a namespace."""
    name = graph_.metadata.name
    return Program.of(name, {name: graph_}, {w.metadata.name: w for w in workers}, namespace)


def task(name: str, action: str, worker_: str = "work", /, **fields: Any) -> dict[str, Any]:
    """A task; its inputs are called ``given`` here."""
    return {"name": name, "worker": worker_, "action": action, "with": fields.pop("given", {}), **fields}


class Process(Protocol):
    """What tests do with a pod's process; as subprocess.Popen."""

    pid: int

    def poll(self) -> int | None:
        """None while it lives."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        ...

    def send_signal(self, sig: int, /) -> None:
        """Signal it."""
        ...

    def terminate(self) -> None:
        """SIGTERM."""
        ...

    def kill(self) -> None:
        """SIGKILL."""
        ...


def launch(environ: Mapping[str, str], folder: Path, log: Path) -> Process:
    """Start ``arklex worker`` in a folder."""
    with log.open("wb") as out:
        command = [sys.executable, "-m", "arklex_runtime.cli", "worker"]
        return subprocess.Popen(command, env=dict(environ), stdout=out, stderr=out, cwd=folder)


@dataclass
class PodProcess:
    """One pod."""

    name: str
    process: Process
    log: Path
    worker: str = ""

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def wait(self, seconds: float = 60) -> int:
        """Its exit code."""
        return self.process.wait(seconds)

    def lines(self) -> list[dict[str, Any]]:
        """What it logged."""
        found = []
        for line in self.log.read_text().splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found

    def said(self, event: str) -> dict[str, Any] | None:
        """The first line with that event."""
        return next((line for line in self.lines() if line.get("event") == event), None)


@dataclass
class Cluster:
    """A Redis, a journal and pods; everything it started ends with ``close``. ``launch`` starts a pod's process."""

    url: str
    folder: Path
    lease: float = 1.0
    namespace: str = "default"
    pods: list[PodProcess] = field(default_factory=list)
    launch: Callable[[Mapping[str, str], Path, Path], Process] = launch

    @property
    def ledger(self) -> Path:
        """Where handlers write what they do."""
        return self.folder / "ledger"

    @property
    def db(self) -> str:
        """The journal."""
        return f"sqlite:///{self.folder / 'journal.db'}"

    def pod(self, worker_: Worker, name: str | None = None, namespace: str | None = None, **environ: str) -> PodProcess:
        """Start a pod of a Worker."""
        name = name or f"{worker_.metadata.name}-{len(self.pods)}"
        connection = self.folder / "connection"
        connection.mkdir(exist_ok=True)
        (connection / "url").write_text(self.url)
        fields = {"type", "config", "llm", "concurrency", "drain_seconds"}
        spec = worker_.spec.model_dump(mode="json", by_alias=True, include=fields)
        own = {
            "ARKLEX_WORKER": worker_.metadata.name,
            "ARKLEX_WORKER_SPEC": json.dumps(spec),
            "ARKLEX_LEASE_SECONDS": str(self.lease),
            "ARKLEX_CONNECTION_DIR": str(connection),
            "ARKLEX_SECRETS_DIR": str(self.folder / "secrets"),
            "ARKLEX_METRICS_PORT": "0",
            "ARKLEX_TEST_LEDGER": str(self.ledger),
            "POD_NAME": name,
            "POD_NAMESPACE": namespace or self.namespace,
            "NODE_NAME": "node-1",
            "PYTHONPATH": os.pathsep.join(sys.path),
            **environ,
        }
        log = self.folder / f"{name}-{time.monotonic_ns()}.log"
        process = self.launch({**os.environ, **own}, self.folder, log)
        pod = PodProcess(name, process, log, worker_.metadata.name)
        self.pods.append(pod)
        return pod

    def close(self) -> None:
        """End every pod."""
        for pod in self.pods:
            if pod.process.poll() is None:
                pod.process.kill()
            pod.process.wait()

    @contextlib.asynccontextmanager
    async def host(self, db: str | None = None) -> AsyncIterator[RunHost]:
        """A runtime in this process."""
        bench = RemoteBench(ResultCache())
        dispatcher = StreamsDispatcher(Address.of(self.url), bench.route_of, lease=self.lease)
        host = RunHost(await open_journal(db or self.db), bench, dispatcher=dispatcher)
        try:
            yield host
        finally:
            await host.aclose()

    @contextlib.asynccontextmanager
    async def redis(self) -> AsyncIterator[Link]:
        """A connection to look with."""
        link = await Link.open(Address.of(self.url), "test")
        try:
            yield link
        finally:
            link.close()


async def run(host: RunHost, program_: Program, **given: Any) -> dict[str, Any]:
    """Run to the end; the document."""
    driver = await host.start(program_, Request(input=given))
    return await ended(driver)


async def ended(driver: RunDriver) -> dict[str, Any]:
    """Wait for a run's end; the document."""
    async with asyncio.timeout(PATIENCE):
        await driver.ended
    return RunHost.finished_document(driver)


async def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Wait for something; what it is."""
    end = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < end, f"waited for {what}"
        await asyncio.sleep(0.02)
    return found


def job_fields(attempt: Attempt, inputs: Any = None, action: str = "echo") -> tuple[str | bytes, ...]:
    """The fields of an entry in a jobs stream."""
    return ("k", identity(attempt), "j", JobMessage(attempt, "task", "graph", inputs or {}, action).encode())


def document_of(data: bytes) -> Any:
    """JSON."""
    return orjson.loads(data)


KEYS = Keys("default")
