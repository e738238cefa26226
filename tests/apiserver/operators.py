"""The real operator as a process, on a bare API server."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from tests.services import free_port

PATIENCE = 90.0
"""Seconds after which something that should have happened will not."""


def leading(redis_url: str, images: str, seconds: int) -> dict[str, str]:
    """Settings of an operator that manages Redis' users and shares one Lease of so many seconds with its like."""
    lease = {"ARKLEX_LEADER_LEASE": "arklex-operator", "ARKLEX_LEADER_SECONDS": str(seconds)}
    return {"ARKLEX_REDIS_URL": redis_url, "ARKLEX_REDIS_ACL": "managed", "ARKLEX_IMAGES": images, **lease}


class Handle(Protocol):
    """A process that was started."""

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""

    def kill(self) -> None:
        """End it at once."""


Start = Callable[[Mapping[str, str], Path], Handle]
"""Starts an operator with this environment, which prints to this file."""


def _from_scratch(environment: Mapping[str, str], log: Path) -> Handle:
    with log.open("ab") as out:
        command = [sys.executable, "-m", "arklex_operator.main"]
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)


class Operator:
    """One process of ``arklex-operator``; its log is what it printed.

    It has a Lease of its own, unless ``settings`` name one: not by its port, which may have been another's whose Lease runs on.
    """

    def __init__(
        self,
        kubeconfig: Path,
        log: Path,
        settings: Mapping[str, str],
        start: Start | None = None,
    ) -> None:
        self.log_file = log
        self.health, self.metrics = free_port(), free_port()
        self.lease = f"operator-{uuid.uuid4().hex[:12]}"
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "KUBECONFIG": str(kubeconfig),
            "ARKLEX_REDIS_URL": "redis://127.0.0.1:1/0",
            "ARKLEX_REDIS_ACL": "off",
            "ARKLEX_HEALTH_PORT": str(self.health),
            "ARKLEX_METRICS_PORT": str(self.metrics),
            "ARKLEX_LEADER_LEASE": self.lease,
            "POD_NAME": f"operator-{self.health}",
            **settings,
        }
        self.process: Handle = (start or _from_scratch)(environment, log)

    def ready(self) -> bool:
        """Whether it leads and watches."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def until_ready(self) -> None:
        """Wait for it."""
        deadline = time.monotonic() + PATIENCE
        while not self.ready():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def metric(self, line: str) -> float:
        """The value of a metric, given as its line without the value; 0 if there is none."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=5) as answer:
            found = [each for each in answer.read().decode().splitlines() if each.startswith(line + " ")]
        return float(found[0].rsplit(" ", 1)[1]) if found else 0.0

    def log(self) -> str:
        """The last 8,000 bytes of what it printed."""
        return self.log_file.read_bytes()[-8000:].decode(errors="replace")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stop it; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(30)


@contextlib.contextmanager
def operator(kubeconfig: Path, **settings: str) -> Iterator[Operator]:
    """Run one, with more settings of its environment; ready when this begins."""
    with tempfile.TemporaryDirectory(prefix="arklex-operator-") as folder:
        process = Operator(kubeconfig, Path(folder) / "log", settings)
        try:
            process.until_ready()
            yield process
        finally:
            process.stop(signal.SIGKILL)
