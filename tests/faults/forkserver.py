"""Victims without the price of a start: a warm Python that forks one child for each life, before any loop or database exists.

``python -m tests.faults.forkserver`` reads lives as lines of JSON; for each it prints the child's pid, then how it ended.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from tests.faults.victim import Life


class Victim:
    """A child on its way: ``end`` waits for its death and returns its exit code, negative for a signal."""

    def __init__(self, pid: int, server: Server) -> None:
        self.pid = pid
        self._server = server

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def end(self) -> int:
        """Wait for it."""
        return int(self._server.hear())


class Server:
    """The client's end: one victim at a time."""

    def __init__(self) -> None:
        code = f"import sys; sys.path[:0] = {sys.path!r}; from tests.faults.forkserver import serve; serve()"
        self._process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def start(self, life: Life) -> Victim:
        """Begin a life."""
        assert self._process.stdin is not None
        self._process.stdin.write(life.text + "\n")
        self._process.stdin.flush()
        return Victim(int(self.hear()), self)

    def run(self, life: Life) -> int:
        """Begin a life and wait for its end."""
        return self.start(life).end()

    def hear(self) -> str:
        """One line from the server."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the fork server is gone"
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        with self._process as process, contextlib.suppress(BrokenPipeError):
            assert process.stdin is not None
            process.stdin.close()


def serve() -> None:
    """The server's end: fork, wait, report; until stdin ends."""
    from tests.faults.graphs import GRAPHS, program
    from tests.faults.victim import live

    programs = {name: program(name) for name in GRAPHS}
    gc.freeze()
    for line in _lines():
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            os.dup2(2, 1)
            try:
                os._exit(live(Life.of(line), programs))
            except BaseException:
                traceback.print_exc()
                os._exit(70)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _lines() -> Iterator[str]:
    while line := sys.stdin.readline():
        yield line
