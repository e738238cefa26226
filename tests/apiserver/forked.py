"""Operators without the price of a start: a warm Python forks one for each life."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["arklex_operator.handlers.controllers", "arklex_operator.main", "kubernetes.aio", "tests.apiserver.forked", "uvloop"]
)


class Forked:
    """A process, with the part of ``subprocess.Popen`` that tests of the operator use."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._process = _CONTEXT.Process(target=live, args=(dict(environment), str(log)))
        self._process.start()

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("arklex-operator", timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None and self._process.pid is not None:
            os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def live(environment: dict[str, str], log: str) -> None:
    """The child: an operator with these settings."""
    descriptor = os.open(log, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from kubernetes.aio.config import kube_config

    from arklex_operator.main import main

    kube_config.KUBE_CONFIG_DEFAULT_LOCATION = environment["KUBECONFIG"]
    main()
