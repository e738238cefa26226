"""Worker pods without the price of a start: a warm Python that forks one for each request; then it is ``arklex worker``.

``serve`` reads requests as lines of JSON and prints each child's pid.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self


class Child:
    """A process that is the nursery's child, and ours to signal. Its exit code is nobody's."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._handle = os.pidfd_open(pid)
        self._over = False

    def poll(self) -> int | None:
        """None while it lives, then 0."""
        return 0 if self._ended(0) else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises TimeoutError."""
        if not self._ended(timeout):
            raise TimeoutError(f"{self.pid} does not end")
        return 0

    def _ended(self, timeout: float | None) -> bool:
        if not self._over and self._readable(timeout):
            self._over = True
            os.close(self._handle)
        return self._over

    def _readable(self, timeout: float | None) -> bool:
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))

    def send_signal(self, number: int) -> None:
        """Signal it, unless it has ended."""
        if not self._ended(0):
            signal.pidfd_send_signal(self._handle, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Nursery:
    """Forks pods until the context ends; those that live by then are left to whoever asked for them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        command = [sys.executable, "-c", "from tests.faults.nursery import serve; serve()"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env={**os.environ, **environ})

    def start(self, environ: Mapping[str, str], folder: Path, log: Path) -> Child:
        """Start a pod in a folder, which writes its words to ``log``."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([dict(environ), str(folder), str(log)]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the nursery is gone"
        return Child(int(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()


def serve() -> None:
    """The nursery's side, until stdin ends."""
    import uvloop  # noqa: F401 (for the children)

    from arklex_runtime.pod import capture, main, pod, web  # noqa: F401 (likewise)

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    while line := sys.stdin.readline():
        environ, folder, log = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(environ, folder, log)
        print(pid, flush=True)


def _become(environ: dict[str, str], folder: str, log: str) -> None:
    """Be the pod, and end."""
    from arklex_runtime.pod.main import run_worker

    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    try:
        os._exit(run_worker())
    except BaseException:
        traceback.print_exc()
        os._exit(70)
