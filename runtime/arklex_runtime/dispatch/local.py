"""The in-process dispatcher: async handlers up to their Worker's concurrency, sync ones on a few threads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from arklex_api.base import JSON
from arklex_runtime.dispatch.breaker import Breaker
from arklex_runtime.dispatch.jobs import Error, Grant, Job
from arklex_runtime.dispatch.outcome import broken, document, outcome, tamed
from arklex_runtime.dispatch.threads import Threads
from arklex_runtime.errors import TaskError
from arklex_runtime.workers.base import TaskWorker


class Lane:
    """The slots of one Worker and who waits for them."""

    __slots__ = ("blocking", "breaker", "capacity", "queue", "used", "worker")

    def __init__(self, worker: TaskWorker, capacity: int, breaker: Breaker | None = None) -> None:
        self.worker = worker
        self.blocking = worker.blocking
        self.breaker = breaker
        self.capacity = capacity
        self.used = 0
        self.queue: deque[Job] = deque()


class LocalDispatcher:
    """Runs jobs in this process. Every method is called in the event loop ``loop``.

    ``lane_of`` gives a job's lane, made by the owner from the Worker or tool it names. ``reserve`` asks a tool's rate limit:
    it returns 0, or the seconds to wait.
    """

    remote = False

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        lane_of: Callable[[Job], Lane],
        reserve: Callable[[Job], float],
        redact: Callable[[JSON], JSON] | None = None,
        max_workers: int = 4,
    ) -> None:
        self._loop = loop
        self._lane_of = lane_of
        self._reserve = reserve
        self._redact = redact
        self.threads = Threads(max_workers)
        self._blocking: list[Lane] = []
        self._tasks: set[asyncio.Task[JSON]] = set()

    def attach(self, namespace_of: Callable[[str], str | None]) -> None:
        """Nothing runs elsewhere."""

    def durable(self, job: Job) -> None:
        """A queued job gets its slot when one is free."""

    def adopt(self, job: Job, *, started: bool) -> None:
        """What ran here ended with the process that ran it."""
        raise NotImplementedError("attempts in this process do not outlive it")

    def settle(self, job: Job) -> None:
        """Nothing is kept for it."""

    def over(self, run_id: str) -> None:
        """Nothing comes late."""

    def abandon(self, job: Job) -> None:
        """What runs here is stopped."""
        self.cancel(job)

    def acquire(self, job: Job) -> Grant:
        """Take a slot for ``job``, or queue it. A granted job is to be launched, or cancelled; ``job.refusal`` says why not."""
        lane = job.lane = self._lane_of(job)
        if lane.blocking:
            if lane not in self._blocking:
                self._blocking.append(lane)
            if self.threads.stuck:
                job.refusal = _held()
                return Grant.REFUSED
        if lane.breaker is not None and not lane.breaker.admit(self._loop.time()):
            job.refusal = broken(lane.breaker.retry_after(self._loop.time()))
            return Grant.REFUSED
        if lane.queue or not self._take(lane, job):
            lane.queue.append(job)
            return Grant.QUEUED
        if job.tool and not self._within_limit(lane, job, self._loop.time()):
            return Grant.QUEUED
        return Grant.GRANTED

    def _take(self, lane: Lane, job: Job) -> bool:
        if lane.used >= lane.capacity:
            return False
        if lane.blocking:
            if not self.threads.free:
                return False
            self.threads.running += 1
        lane.used += 1
        job.has_slot = True
        return True

    def _within_limit(self, lane: Lane, job: Job, since: float) -> bool:
        """Whether the tool's rate limit lets the job go; if not it waits, without a slot, until its timeout."""
        wait = self._reserve(job)
        if wait <= 0:
            return True
        self._give_back(lane, job)
        if job.timeout is not None and self._loop.time() + wait > since + job.timeout:
            self._loop.call_later(max(0.0, since + job.timeout - self._loop.time()), self._limit_timeout, job)
        else:
            self._loop.call_later(wait, self._again, lane, job, since)
        return False

    def _limit_timeout(self, job: Job) -> None:
        if not job.cancelled:
            job.owner.finished(job, None, 0, document("Timeout", "the tool's rate limit left no room in time"))

    def _again(self, lane: Lane, job: Job, since: float) -> None:
        if job.cancelled:
            return
        if not self._take(lane, job):
            self._loop.call_later(0.01, self._again, lane, job, since)
        elif self._within_limit(lane, job, since):
            job.owner.granted(job)

    def launch(self, job: Job) -> None:
        """Run a granted job; its start is durable."""
        lane: Lane = job.lane
        if job.cancelled:
            self._free(lane, job)
            return
        job.launched = True
        if lane.blocking:
            self.threads.running -= 1
            self.threads.run(partial(self._on_thread, lane, job))
            return
        task = self._loop.create_task(_guarded(lane.worker, job))
        job.handle = task
        self._tasks.add(task)
        task.add_done_callback(partial(self._async_done, lane, job))

    def cancel(self, job: Job, reason: str | None = None) -> None:
        """Stop a job, or forget it; nothing of it is reported. ``reason`` Timeout speaks against the worker."""
        job.cancelled = True
        lane: Lane = job.lane
        if lane.breaker is not None:
            self._blame(lane.breaker, reason)
        if job.launched:
            if job.handle is not None:
                job.handle.cancel()
            elif job.has_slot:
                self.threads.abandon()
                self._admit(lane)
        elif job in lane.queue:
            lane.queue.remove(job)
        elif job.has_slot:
            self._free(lane, job)

    def _blame(self, breaker: Breaker, reason: str | None) -> None:
        if reason is None:
            breaker.forget()
        else:
            breaker.record(reason, self._loop.time())

    def _on_thread(self, lane: Lane, job: Job) -> None:
        output: JSON = None
        error: BaseException | None = None
        try:
            output = lane.worker.execute(job.inputs, job.context)
        except (SystemExit, KeyboardInterrupt) as caught:
            error = tamed(caught)
        except BaseException as caught:
            error = caught
        try:
            self._loop.call_soon_threadsafe(self._thread_done, lane, job, output, error)
        except RuntimeError:
            return

    def _thread_done(self, lane: Lane, job: Job, output: JSON, error: BaseException | None) -> None:
        self.threads.abandoned -= job.cancelled
        self._done(lane, job, output, error)

    def _async_done(self, lane: Lane, job: Job, task: asyncio.Task[JSON]) -> None:
        """The handle goes: it would keep what the handler held, through the traceback, until the collector comes by."""
        job.handle = None
        self._tasks.discard(task)
        if task.cancelled():
            self._done(lane, job, None, TaskError("Cancelled", "the handler cancelled itself"))
            return
        error = task.exception()
        self._done(lane, job, None if error else task.result(), error)

    def _done(self, lane: Lane, job: Job, output: JSON, error: BaseException | None) -> None:
        if not job.cancelled:
            value, size, failure = outcome(output, error, self._redact)
            if lane.breaker is not None:
                lane.breaker.record(failure["type"] if failure else None, self._loop.time())
            self._give_back(lane, job)
            job.owner.finished(job, value, size, failure)
            self._admit(lane)
        else:
            self._free(lane, job)

    def _give_back(self, lane: Lane, job: Job) -> None:
        if job.has_slot:
            job.has_slot = False
            lane.used -= 1
            self.threads.running -= lane.blocking

    def _free(self, lane: Lane, job: Job) -> None:
        self._give_back(lane, job)
        self._admit(lane)

    def _admit(self, lane: Lane) -> None:
        """Slots came free: whoever waits may have them, of other lanes too where threads are shared."""
        for other in self._blocking if lane.blocking else (lane,):
            while other.queue:
                if other.blocking and self.threads.stuck:
                    stuck = other.queue.popleft()
                    stuck.owner.finished(stuck, None, 0, _held())
                    continue
                job = other.queue[0]
                if not self._take(other, job):
                    break
                other.queue.popleft()
                if not job.tool or self._within_limit(other, job, self._loop.time()):
                    job.owner.granted(job)

    async def aclose(self) -> None:
        """Cancel what runs asynchronously and wait for it; threads are not joined."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=5)
        self.threads.close()


async def _guarded(worker: TaskWorker, job: Job) -> JSON:
    """The handler's coroutine; a SystemExit in it is the task's failure, not the loop's end."""
    try:
        return await worker.execute(job.inputs, job.context)
    except (SystemExit, KeyboardInterrupt) as error:
        raise tamed(error) from error


def _held() -> Error:
    return document("Unavailable", "every thread is held by a handler that does not return")
