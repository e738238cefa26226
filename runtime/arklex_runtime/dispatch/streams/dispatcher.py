"""The distributed dispatcher: attempts go to pods through Redis Streams and come back as messages (docs/decisions/0006)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable

from arklex_runtime.dispatch.jobs import Grant, Job
from arklex_runtime.dispatch.outcome import broken
from arklex_runtime.dispatch.streams.inbox import Inbox
from arklex_runtime.dispatch.streams.limits import Limits
from arklex_runtime.dispatch.streams.link import Address
from arklex_runtime.dispatch.streams.mailbox import MOST, Mailbox, Posting, Stage
from arklex_runtime.dispatch.streams.outbox import Outbox
from arklex_runtime.dispatch.streams.routes import Route
from arklex_runtime.dispatch.streams.sweeper import Sweeper
from arklex_runtime.dispatch.streams.wire import Attempt, Keys, ResultMessage
from arklex_runtime.state.records import AttemptLog

REMEMBERED = 10_000
"""Runs whose late results are refused rather than left to another owner."""
LEASE = 10.0
"""Seconds without a beat after which a pod is dead."""


class StreamsDispatcher:
    """Sends jobs to pods and tells their owners what comes of them. Every method is called in the event loop it was made in.

    ``route_of`` says where a job goes. Redis may be away or lose everything at any time: see ``sweeper``.
    """

    remote = True

    def __init__(
        self, address: Address, route_of: Callable[[Job], Route], *, lease: float = LEASE, name: str = "arklex-runtime"
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._address = address
        self._name = name
        self._route_of = route_of
        self.lease = lease
        self.boxes: dict[tuple[str, str], Mailbox] = {}
        self.namespaces: dict[str, Keys] = {}
        self._out: dict[Attempt, Posting] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self.outbox: Outbox
        self.inbox: Inbox
        self.limits: Limits
        self.sweeper: Sweeper

    def attach(self, namespace_of: Callable[[str], str | None]) -> None:
        """Begin to send and to listen."""
        self.outbox = Outbox(self._address, self._name, lambda: self.boxes.values())
        self.limits = Limits(self.outbox, self.post, self._loop.time)
        self.inbox = Inbox(self._address, self._name, self, namespace_of, self.outbox)
        self.sweeper = Sweeper(self, self.outbox, self.inbox)

    def keys(self, namespace: str) -> Keys:
        """The keys of a namespace; from now on its results are read."""
        keys = self.namespaces.get(namespace)
        if keys is None:
            keys = self.namespaces[namespace] = Keys(namespace)
            self.inbox.listen(keys)
        return keys

    def _posting(self, job: Job) -> Posting:
        route = self._route_of(job)
        box = self.boxes.get((route.namespace, route.worker))
        if box is None:
            box = Mailbox(self.keys(route.namespace), route.worker, self.lease)
            self.boxes[route.namespace, route.worker] = box
        posting = Posting(job, route, box)
        job.lane, job.handle = box, posting
        return posting

    def acquire(self, job: Job) -> Grant:
        """QUEUED, or REFUSED by the Worker's circuit breaker."""
        posting = self._posting(job)
        breaker = posting.box.breaker_of(posting.route)
        if breaker is not None and not breaker.admit(self._loop.time()):
            job.refusal = broken(breaker.retry_after(self._loop.time()))
            return Grant.REFUSED
        return Grant.QUEUED

    def durable(self, job: Job) -> None:
        """Send the job, once its tool's rate limit lets it go."""
        posting: Posting = job.handle
        if posting.stage is not Stage.NEW:
            return
        if posting.route.limit is not None and job.tool is not None:
            self.limits.ask(posting)
        else:
            self.post(posting)

    def post(self, posting: Posting) -> None:
        """Send, or keep it back while too many are out."""
        box = posting.box
        if len(box.out) >= MOST:
            posting.stage = Stage.QUEUED
            box.backlog.append(posting)
        else:
            box.out[posting.attempt] = self._out[posting.attempt] = posting
            self.outbox.post(posting)

    def adopt(self, job: Job, *, started: bool) -> None:
        """Wait for what an earlier owner sent; results that it left are read (again)."""
        posting = self._posting(job)
        posting.started, posting.stage = started, Stage.UNSURE
        posting.box.out[posting.attempt] = self._out[posting.attempt] = posting
        self.inbox.release(posting.attempt.run)
        self.inbox.again(posting.box.keys)

    def launch(self, job: Job) -> None:
        """The start is durable: the pod's word for it can go."""
        posting: Posting = job.handle
        if posting.news is not None:
            self.inbox.drop(posting.box.keys, posting.news)
            posting.news = None

    def settle(self, job: Job) -> None:
        """The result is durable: the pod's message can go."""
        posting: Posting = job.handle
        if job.receipt is not None:
            self.inbox.drop(posting.box.keys, job.receipt)
            job.receipt = None

    def cancel(self, job: Job, reason: str | None = None) -> None:
        """Take the job back, and tell the pod that may have it."""
        job.cancelled = True
        posting: Posting = job.handle
        self.launch(job)
        if posting.stage is Stage.OVER:
            return
        breaker = posting.box.breaker
        if breaker is not None:
            if reason is None:
                breaker.forget()
            else:
                breaker.record(reason, self._loop.time())
        if posting.stage in (Stage.NEW, Stage.QUEUED):
            posting.stage = Stage.OVER
        else:
            self._withdraw(posting, reason)

    def abandon(self, job: Job) -> None:
        """Leave the job to the next owner: nothing in Redis changes, and what was read but not committed counts as unread."""
        job.cancelled = True
        posting: Posting = job.handle
        self._remove(posting)
        self.inbox.release(posting.attempt.run)

    def _withdraw(self, posting: Posting, reason: str | None) -> None:
        self.outbox.withdraw(posting, reason)
        self._remove(posting)

    def _remove(self, posting: Posting) -> None:
        box = posting.box
        posting.stage = Stage.OVER
        if box.out.get(posting.attempt) is posting:
            del box.out[posting.attempt], self._out[posting.attempt]
            while box.backlog and len(box.out) < MOST:
                waiting = box.backlog.popleft()
                if waiting.stage is Stage.QUEUED:
                    self.post(waiting)

    def outstanding(self, keys: Keys, attempt: Attempt) -> Posting | None:
        """The attempt, if its result is still waited for in this namespace."""
        posting = self._out.get(attempt)
        return posting if posting is not None and posting.box.keys is keys else None

    def over(self, run_id: str) -> None:
        """Refuse what still comes for a run that ended here."""
        self._ended[run_id] = None
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)

    def has_ended(self, run_id: str) -> bool:
        """Whether the run ended here, lately."""
        return run_id in self._ended

    def started(self, posting: Posting, entry: bytes | None) -> None:
        """A pod has it: commit that. ``entry`` is its word for it, None where only its heartbeat says so."""
        posting.started, posting.absence, posting.news = True, None, entry
        posting.job.owner.granted(posting.job)

    def _ran(self, posting: Posting, entry: bytes) -> bool:
        """A pod's last word of it: that it began may not have been heard. False where its owner wants it no more."""
        if not posting.started:
            posting.started = True
            posting.job.owner.granted(posting.job)
        if posting.stage is Stage.OVER:
            self.inbox.drop(posting.box.keys, entry)
            return False
        return True

    def finished(self, posting: Posting, message: ResultMessage, entry: bytes) -> None:
        """A pod is done with it."""
        if not self._ran(posting, entry):
            return
        job = posting.job
        self._remove(posting)
        breaker = posting.box.breaker
        if breaker is not None:
            breaker.record(message.error["type"] if message.error else None, self._loop.time())
        job.receipt = entry
        if message.logs:
            job.log = AttemptLog(job.key, job.attempt, message.pod, message.node, message.logs)
        job.owner.finished(job, message.output, message.size, message.error)

    def released(self, posting: Posting, message: ResultMessage, entry: bytes) -> None:
        """A pod gave it back: charged with nothing if it ran, sent again if it did not."""
        job = posting.job
        if message.ran or posting.started:
            if not self._ran(posting, entry):
                return
            self._remove(posting)
            if posting.box.breaker is not None:
                posting.box.breaker.forget()
            job.receipt = entry
            job.owner.released(job)
        else:
            self.inbox.drop(posting.box.keys, entry)
            self.outbox.again(posting)

    def gone(self, postings: Iterable[Posting]) -> None:
        """Nobody holds them: lost if they ran, sent again if they did not."""
        for posting in postings:
            if not posting.started:
                self.outbox.again(posting)
                continue
            self._withdraw(posting, "lost")
            if posting.box.breaker is not None:
                posting.box.breaker.record("WorkerLost", self._loop.time())
            self.launch(posting.job)
            posting.job.owner.lost(posting.job)

    async def aclose(self) -> None:
        """Send what is still to be sent, and stop. Attempts go on."""
        await self.sweeper.aclose()
        await self.inbox.aclose()
        await self.limits.aclose()
        await self.outbox.aclose()
