"""A client of the door while something is done to the cluster: what it was promised, and where it was let down."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from tests.cluster.ledger import LedgerServer
from tests.cluster.release import Release
from tests.faults.ledger import ACCEPTED, END, read_ledger

PAUSE = 0.1
"""Seconds between two requests."""
EVERY = 5
"""Each so many requests it looks whether to start another run."""
PATIENCE = 60.0
"""Seconds for the answer to one request, on a machine that does other things too."""


@dataclass
class Traffic:
    """Asks the door all the time, on a new connection each time, and keeps ``at_once`` runs of a graph in flight.

    The graph has ``tasks`` effects. A start that is not answered is repeated under its key. ``failures`` are the requests
    that got no answer, or an error: (seconds from the beginning, what was asked, what went wrong).
    """

    release: Release
    namespace: str
    graph: str
    tasks: int
    ledger: LedgerServer
    at_once: int = 4
    requests: int = 0
    runs: list[str] = field(default_factory=list)
    failures: list[tuple[float, str, str]] = field(default_factory=list)
    _started: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Traffic:
        self._url = f"{self.release.door_url()}/v1/namespaces/{self.namespace}"
        self._token = self.release.token()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def in_flight(self) -> int:
        """How many runs were promised and have effects to come."""
        ended = Counter(entry.run for entry in read_ledger(self.ledger.path) if entry.kind == END)
        return sum(ended[run] < self.tasks for run in tuple(self.runs))

    def _work(self) -> None:
        while not self._stop.wait(PAUSE):
            self._ask("GET", "runs?limit=1")
            if self.requests % EVERY == 0 and self.in_flight() < self.at_once:
                self._start()

    def _start(self) -> None:
        found = self._ask("POST", f"taskgraphs/{self.graph}/runs", f"{self.graph}-{self._started}")
        if found is not None:
            self._started += 1
            self.ledger.ledger.write(ACCEPTED, found["run"])
            self.runs.append(found["run"])

    def _ask(self, method: str, path: str, key: str = "") -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json", "Connection": "close"}
        if key:
            headers["Idempotency-Key"] = key
        body = b"{}" if method == "POST" else None
        self.requests += 1
        try:
            request = urllib.request.Request(f"{self._url}/{path}", body, headers, method=method)
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)
        except (OSError, HTTPException) as error:
            self.failures.append((round(time.monotonic() - self._began, 1), f"{method} {path}", str(error)))
            return None
