"""Replicas of the runtime as processes, with a door to knock at: for tests that kill and freeze them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.services import free_port

TOKEN = "a-token-of-tests"
NAMESPACE = "team"
ROOT = Path(__file__).resolve().parent.parent
WAIT = 180.0
"""Seconds until a condition that must come is given up."""


@dataclass
class Replica:
    """One process of ``arklex runtime``, over objects of a folder."""

    name: str
    environ: dict[str, str]
    log: Path
    door: int = field(default_factory=free_port)
    ops: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> Replica:
        """Start it, and wait until it is ready."""
        paths = os.pathsep.join(str(ROOT / each) for each in ("crds", "runtime", "operator"))
        ports = {"ARKLEX_DOOR_PORT": str(self.door), "ARKLEX_METRICS_PORT": str(self.ops), "POD_NAME": self.name}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "arklex_runtime.cli", "runtime"],
                env={**os.environ, "PYTHONPATH": paths, **self.environ, **ports},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            until(self.ready, lambda: f"{self.name} is not ready:\n{self.text()}")
        return self

    def text(self) -> str:
        """What it logged."""
        return self.log.read_text()

    def ready(self) -> bool:
        """Whether it wants to be asked; fails if the process is gone."""
        assert self.process is not None and self.process.poll() is None, self.text()
        return self.probe("readyz") == 200

    def probe(self, path: str) -> int:
        """The status of a probe, 0 while nobody answers."""
        with contextlib.suppress(OSError):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.ops}/{path}", timeout=5) as answer:
                    return int(answer.status)
            except urllib.error.HTTPError as error:
                return error.code
        return 0

    def metrics(self) -> dict[str, float]:
        """Its metrics, by series."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ops}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}

    def call(
        self, method: str, path: str, body: Any = None, token: str | None = TOKEN, timeout: float = 60, **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        """One request to its door: status, JSON, headers. Raises OSError, also when there is no answer for ``timeout`` s."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        sent = {"Authorization": f"Bearer {token}"} if token is not None else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"http://127.0.0.1:{self.door}{path}"
        request = urllib.request.Request(url, data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, json.loads(answer.read() or b"null"), dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"null"), dict(error.headers)

    def begin(self, graph: str, **body: Any) -> str:
        """Start a run, return its id."""
        status, answer, _ = self.call("POST", f"/v1/namespaces/{NAMESPACE}/taskgraphs/{graph}/runs", body)
        assert status == 202, answer
        return str(answer["run"])

    def show(self, run: str) -> dict[str, Any]:
        """A run's document."""
        status, answer, _ = self.call("GET", f"/v1/namespaces/{NAMESPACE}/runs/{run}")
        assert status == 200, answer
        found: dict[str, Any] = answer
        return found

    def ended(self, run: str) -> dict[str, Any]:
        """The document of a run, once it is over."""
        until(lambda: self.show(run)["finishedAt"] is not None, lambda: f"{self.show(run)}\n{self.text()}")
        return self.show(run)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stop it; returns the exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.send_signal(signal.SIGCONT)
        try:
            code = self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        self.process = None
        return code


def until(condition: Callable[[], bool], said: Callable[[], str] = lambda: "it never came", wait: float = WAIT) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + wait
    while not condition():
        assert time.monotonic() < deadline, said()
        time.sleep(0.05)


@dataclass
class Fleet:
    """Replicas over one journal, one Redis and one folder of manifests."""

    folder: Path
    environ: dict[str, str]
    replicas: list[Replica] = field(default_factory=list)

    def add(self, *, wait: bool = True, **environ: str) -> Replica:
        """Start one more."""
        name = f"runtime-{len(self.replicas)}"
        replica = Replica(name, self.environ | environ, self.folder / f"{name}.log")
        self.replicas.append(replica)
        return replica.start(wait=wait)


@contextlib.contextmanager
def fleet(folder: Path, manifests: str, journal: str, redis: str, **environ: str) -> Iterator[Fleet]:
    """Replicas that are gone when the context ends."""
    (folder / "manifests").mkdir()
    (folder / "manifests" / "all.yaml").write_text(manifests)
    (folder / "token").write_text(TOKEN + "\n")
    settings = {
        "ARKLEX_JOURNAL_URL": journal,
        "ARKLEX_REDIS_URL": redis,
        "ARKLEX_DOOR_TOKEN_FILE": str(folder / "token"),
        "ARKLEX_MANIFESTS": str(folder / "manifests"),
        "ARKLEX_LEASE_SECONDS": "3",
        "POD_NAMESPACE": NAMESPACE,
    }
    made = Fleet(folder, settings | environ)
    try:
        yield made
    finally:
        for replica in made.replicas:
            with contextlib.suppress(ProcessLookupError):
                replica.stop(signal.SIGKILL)
