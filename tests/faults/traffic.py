"""Clients of a stand, and what is known of their runs while faults happen."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tests.faults.ledger import ACCEPTED, BEGIN, END, Entry, Ledger, Reader
from tests.faults.stand import PATIENCE, Stand
from tests.fleet import NAMESPACE

ANSWER = 5.0
"""Seconds that a client waits for an answer before it asks another replica."""


class Traffic:
    """Begins runs of a graph, ``rate`` a second, from several threads; each again with the same key until it is acknowledged.

    ``runs`` are the acknowledged ones with their numbers, which are their outputs. Leaving the context ends it, and raises what
    went wrong in a thread.
    """

    threads = 4

    def __init__(self, stand: Stand, graph: str, rate: float = 0.0) -> None:
        self._stand = stand
        self._graph = graph
        self._pause = self.threads / rate if rate else 0.0
        self._ledger = Ledger(str(stand.ledger))
        self._lock = threading.Lock()
        self._count = 0
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self.runs: dict[str, int] = {}

    def begin(self, **inputs: Any) -> str:
        """Begin one run, whatever it takes; returns its id."""
        with self._lock:
            number, self._count = self._count, self._count + 1
        path, body = f"/v1/namespaces/{NAMESPACE}/taskgraphs/{self._graph}/runs", {"input": {"number": number, **inputs}}
        deadline, tries = time.monotonic() + PATIENCE, number
        key = f"{self._graph}-{id(self)}-{number}"
        while True:
            replica = self._stand.replicas[tries % len(self._stand.replicas)]
            tries += 1
            answer: Any = None
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, answer, _ = replica.call("POST", path, body, timeout=ANSWER, Idempotency_Key=key)
                if status == 202:
                    run = str(answer["run"])
                    self._ledger.write(ACCEPTED, run)
                    self.runs[run] = number
                    return run
                assert status in (429, 503), (status, answer)
            assert time.monotonic() < deadline, f"no replica takes a run: {answer}\n{self._stand.logs()}"
            time.sleep(0.1)

    def _go_on(self) -> None:
        try:
            while not self._stop.wait(self._pause):
                self.begin()
        except BaseException as error:
            self._errors.append(error)

    @contextlib.contextmanager
    def flowing(self) -> Iterator[None]:
        """Begin runs all the time."""
        threads = [threading.Thread(target=self._go_on, daemon=True) for _ in range(self.threads)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        if self._errors:
            raise self._errors[0]


class Witness:
    """Reads the ledger as it grows: what was acknowledged and begun when, and which attempts are at work now."""

    def __init__(self, stand: Stand) -> None:
        self._reader = Reader(stand.ledger)
        self.accepted: dict[str, float] = {}
        self.begun: dict[str, list[float]] = defaultdict(list)
        self.working: dict[tuple[str, str, int], int] = {}
        self.given_up: list[tuple[str, str, int]] = []
        """Attempts whose task was begun again before they had ended."""

    def look(self) -> None:
        """Take what is new."""
        for entry in self._reader.more():
            name = (entry.run, entry.task, entry.attempt)
            if entry.kind == ACCEPTED:
                self.accepted[entry.run] = entry.at
            elif entry.kind == BEGIN:
                self._begin(entry)
                self.working[name] = entry.pid
            elif entry.kind == END:
                self.working.pop(name, None)

    def _begin(self, entry: Entry) -> None:
        self.begun[entry.run].append(entry.at)
        earlier = (entry.run, entry.task, entry.attempt - 1)
        if self.working.pop(earlier, None) is not None:
            self.given_up.append(earlier)

    def busy(self) -> set[int]:
        """The processes that have attempts at work."""
        self.look()
        return set(self.working.values())

    def recoveries(self, moments: list[tuple[str, float]], runs: dict[str, int]) -> dict[str, list[float]]:
        """For each fault and each run that was accepted before it and began a task after it: the seconds between the two.

        By kind of fault; ``moments`` are kinds and monotonic seconds.
        """
        found: dict[str, list[float]] = defaultdict(list)
        for run in runs:
            begun = sorted(self.begun[run])
            for kind, moment in moments:
                if self.accepted[run] < moment and (later := [at for at in begun if at > moment]):
                    found[kind].append(later[0] - moment)
        return found

    def starts(self, runs: dict[str, int]) -> list[float]:
        """Seconds from each run's acknowledgement to its first task."""
        return [max(0.0, min(self.begun[run]) - self.accepted[run]) for run in runs if self.begun[run]]
