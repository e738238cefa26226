"""What one runtime has at one Worker: attempts sent and waiting to be sent."""

from __future__ import annotations

from collections import deque
from enum import IntEnum

from arklex_api.worker import CircuitBreaker
from arklex_runtime.dispatch.breaker import Breaker
from arklex_runtime.dispatch.jobs import Job
from arklex_runtime.dispatch.streams.liveness import Absence, Pods
from arklex_runtime.dispatch.streams.routes import Route
from arklex_runtime.dispatch.streams.wire import Attempt, Keys, identity

MOST = 1000
"""Attempts of a Worker that one runtime has in Redis at once."""


class Stage(IntEnum):
    """Where an attempt is on its way."""

    NEW = 0
    QUEUED = 1
    SENDING = 2
    SENT = 3
    UNSURE = 4
    OVER = 5


class Posting:
    """One attempt on its way. ``entry`` is its place in the jobs stream, None where it has none or that is not known.

    UNSURE: it may be in the stream, sent by an earlier owner or over a connection that broke; it has to be looked for.
    """

    __slots__ = ("absence", "attempt", "box", "entry", "job", "news", "route", "stage", "started")

    def __init__(self, job: Job, route: Route, box: Mailbox) -> None:
        self.job = job
        self.route = route
        self.box = box
        self.attempt = Attempt(job.context.run_id, job.key, job.attempt)
        self.stage = Stage.NEW
        self.entry: bytes | None = None
        self.started = False
        self.absence: Absence | None = None
        self.news: bytes | None = None

    @property
    def identity(self) -> bytes:
        """The field ``k`` of its entry."""
        return identity(self.attempt)


class Mailbox:
    """A Worker as one runtime sees it. ``out`` are attempts in Redis, ``backlog`` those that wait here for room.

    ``doomed`` are attempts that ended before it was known where their entries are.
    """

    def __init__(self, keys: Keys, worker: str, lease: float) -> None:
        self.keys = keys
        self.worker = worker
        self.jobs = keys.jobs(worker)
        self.pods_key = keys.pods(worker)
        self.control = keys.control(worker)
        self.out: dict[Attempt, Posting] = {}
        self.backlog: deque[Posting] = deque()
        self.doomed: list[bytes] = []
        self.pods = Pods(lease)
        self.grouped = False
        self.checked = 0
        self.breaker: Breaker | None = None
        self._spec: CircuitBreaker | None = None

    def breaker_of(self, route: Route) -> Breaker | None:
        """The Worker's circuit breaker, a new one when its settings changed."""
        if route.breaker != self._spec:
            self._spec = route.breaker
            self.breaker = Breaker(route.breaker) if route.breaker is not None else None
        return self.breaker
