"""What an attempt logs and prints, kept for its result: the last 64 KiB of each."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from arklex_api.base import JSON
from arklex_runtime.observability.logs import STANDARD_FIELDS
from arklex_runtime.workers.base import TaskContext, TaskWorker

MOST = 64 * 1024
"""Bytes of UTF-8."""
_CUT = "… earlier lines were cut\n"


class Tail:
    """Text of which only the end is kept. Safe in threads."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._parts: deque[bytes] = deque()
        self._size = 0
        self._cut = False
        self._lock = threading.Lock()

    def write(self, text: str) -> None:
        """Append."""
        part = text.encode("utf-8", "replace")[-self._most :]
        with self._lock:
            self._parts.append(part)
            self._size += len(part)
            self._cut = self._cut or len(part) < len(text)
            while self._size > self._most:
                self._size -= len(self._parts.popleft())
                self._cut = True

    def text(self) -> str:
        """What is kept; says so where something was cut."""
        with self._lock:
            text = b"".join(self._parts).decode("utf-8", "ignore")
            return (_CUT + text) if self._cut else text


_current: ContextVar[Tail | None] = ContextVar("arklex_attempt_tail", default=None)


class Captured:
    """A worker whose attempts write into the Tail that their context's id has in ``tails``."""

    def __init__(self, worker: TaskWorker, tails: dict[int, Tail]) -> None:
        self._worker = worker
        self._tails = tails

    @property
    def blocking(self) -> bool:
        """As the worker's."""
        return self._worker.blocking

    def execute(self, inputs: JSON, context: TaskContext) -> JSON | Awaitable[JSON]:
        """The worker's output."""
        tail = self._tails.get(id(context))
        if not self.blocking:
            return self._later(tail, inputs, context)
        token = _current.set(tail)
        try:
            return self._worker.execute(inputs, context)
        finally:
            _current.reset(token)

    async def _later(self, tail: Tail | None, inputs: JSON, context: TaskContext) -> JSON:
        _current.set(tail)
        found = self._worker.execute(inputs, context)
        return await found if inspect.isawaitable(found) else found


class _Lines(logging.Handler):
    """Log lines of whatever the attempt's code logs."""

    def emit(self, record: logging.LogRecord) -> None:
        tail = _current.get()
        if tail is None:
            return
        try:
            at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            fields = {k: v for k, v in vars(record).items() if k not in STANDARD_FIELDS and k not in _OWN}
            words = "".join(f" {key}={value}" for key, value in fields.items())
            trace = "\n" + logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
            tail.write(f"{at} {record.levelname} {record.getMessage()}{words}{trace}\n")
        except Exception:
            self.handleError(record)


_OWN = ("run", "task", "attempt")


class _Tee(io.TextIOBase):
    """A standard stream that the attempt's Tail hears too."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        tail = _current.get()
        if tail is not None:
            tail.write(text)
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def buffer(self) -> Any:
        """The stream below; what is written there is not kept."""
        return self._stream.buffer


@contextlib.contextmanager
def capturing() -> Iterator[None]:
    """Keep what attempts log and print. After logging has been set up, which goes on writing to the real streams."""
    root, lines = logging.getLogger(), _Lines()
    out, err = sys.stdout, sys.stderr
    root.addHandler(lines)
    sys.stdout, sys.stderr = _Tee(out), _Tee(err)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err
        root.removeHandler(lines)
