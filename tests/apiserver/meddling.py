"""What a proxy before the API server may do: answer itself, cut, show what was, show only the last of what happened."""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import random
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
OURS = "/apis/arklex.ai/"


class Cut(Exception):
    """The connection ends here."""


class Answer(NamedTuple):
    """What the proxy answers by itself; status 0: nothing, the connection ends."""

    status: int
    body: bytes = b""
    retry_after: int | None = None


class Meddler:
    """Does nothing; others override."""

    def instead(self, method: str, path: str) -> Answer | None:
        """What is answered without asking the API server; None: its own answer."""
        return None

    def after(self, method: str, path: str) -> bool:
        """Whether the connection ends once the API server has carried the request out."""
        return False

    def watched(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        """The events of a watch that come through. Raises Cut."""
        return lines


def watches(path: str) -> bool:
    """Whether a path asks for a watch."""
    return parse_qs(urlsplit(path).query).get("watch") == ["true"]


def refusal(status: int, reason: str) -> bytes:
    """The body that goes with a status."""
    told = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": "injected", "code": status}
    return json.dumps(told).encode()


WATCH_ERRORS = {
    f"watch {status}": b'{"type": "ERROR", "object": %s}\n' % refusal(status, reason)
    for status, reason in ((410, "Expired"), (500, "InternalError"))
}
"""What a watch is told, by the kind of fault."""


class Faults(Meddler):
    """Every so often another answer than the API server's, as ``chance`` has it, until ``left`` have landed.

    409, 429 with Retry-After, 500 and 503, the connection cut before and after; a watch is told that its version is gone or
    that the server failed, or is cut. ``landed`` counts by kind.
    """

    def __init__(self, chance: random.Random, left: int, share: float = 0.2) -> None:
        self._chance, self._left, self._share = chance, left, share
        self._lock = threading.Lock()
        self.landed: dict[str, int] = {}

    def instead(self, method: str, path: str) -> Answer | None:
        kinds = ["429", "500", "503", "cut"]
        if method in WRITES:
            kinds.append("409")
        found = None if "/leases" in path else self._draw(kinds)
        if found is None:
            return None
        if found == "cut":
            return Answer(0)
        reasons = {"409": "Conflict", "429": "TooManyRequests", "500": "InternalError", "503": "ServiceUnavailable"}
        return Answer(int(found), refusal(int(found), reasons[found]), 1 if found == "429" else None)

    def after(self, method: str, path: str) -> bool:
        return method in WRITES and "/leases" not in path and self._draw(["cut after"]) is not None

    def watched(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        for line in lines:
            found = self._draw(["watch cut", *WATCH_ERRORS])
            if found == "watch cut":
                raise Cut
            if found is not None:
                yield WATCH_ERRORS[found]
                raise Cut
            yield line

    def _draw(self, kinds: list[str]) -> str | None:
        with self._lock:
            if self._left <= 0 or self._chance.random() >= self._share:
                return None
            self._left -= 1
            kind = self._chance.choice([each for each in kinds if each not in self.landed] or kinds)
            self.landed[kind] = self.landed.get(kind, 0) + 1
            return kind


class BrokenWatch(Meddler):
    """Once ``armed``, one watch is told instead of its next event that the server has failed."""

    def __init__(self) -> None:
        self.armed = threading.Event()

    def watched(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        for line in lines:
            if self.armed.is_set():
                self.armed.clear()
                yield WATCH_ERRORS["watch 500"]
                raise Cut
            yield line


class Gate(Meddler):
    """While ``closed``, watches show nothing; afterwards all of it, or with ``skips`` only the last of each object.

    ``lists`` are answered instead of the API server's lists of our kinds, by path.
    """

    def __init__(self, *, skips: bool = False) -> None:
        self._skips = skips
        self._open = threading.Event()
        self._open.set()
        self.lists: dict[str, bytes] = {}
        self.shown_stale = 0
        self.skipped = 0

    @property
    def closed(self) -> bool:
        """Whether it is."""
        return not self._open.is_set()

    @closed.setter
    def closed(self, value: bool) -> None:
        (self._open.clear if value else self._open.set)()

    def instead(self, method: str, path: str) -> Answer | None:
        body = None if method != "GET" or watches(path) else self.lists.get(urlsplit(path).path)
        if body is None:
            return None
        self.shown_stale += 1
        return Answer(200, body)

    def watched(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        waiting: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=_read, args=(lines, waiting.put), daemon=True).start()
        while (line := waiting.get()) is not None:
            held = [line]
            if self.closed:
                self._open.wait()
                while not waiting.empty():
                    if (more := waiting.get()) is None:
                        return
                    held.append(more)
            yield from self._last(held) if self._skips else held

    def _last(self, held: list[bytes]) -> Iterator[bytes]:
        last = {str(json.loads(line)["object"]["metadata"].get("uid")): line for line in held}
        self.skipped += len(held) - len(last)
        yield from last.values()


def _read(lines: Iterator[bytes], put: Callable[[bytes | None], None]) -> None:
    with contextlib.suppress(OSError, AttributeError, ValueError, http.client.HTTPException):  # it was closed meanwhile
        for line in lines:
            put(line)
    put(None)
