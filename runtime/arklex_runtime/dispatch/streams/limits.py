"""Rate limits of tools, shared by all replicas through Redis: a task at its limit waits, without an attempt, until its timeout.

They never fail open: while Redis is away, the task waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from collections.abc import Callable

from arklex_runtime.dispatch.outcome import document
from arklex_runtime.dispatch.streams.link import ReplyError
from arklex_runtime.dispatch.streams.mailbox import Posting, Stage
from arklex_runtime.dispatch.streams.outbox import Outbox
from arklex_runtime.dispatch.streams.scripts import TAKE

MOST = 100
"""Calls asked for at once."""
PAUSE = 0.25
"""Seconds before Redis is asked again when it did not answer."""

log = logging.getLogger("arklex.dispatch")


class Limits:
    """Tasks that wait for a call of their tool, in order; ``go`` is called for each that has one."""

    def __init__(self, outbox: Outbox, go: Callable[[Posting], None], clock: Callable[[], float]) -> None:
        self._outbox = outbox
        self._go = go
        self._clock = clock
        self._queues: dict[str, deque[tuple[Posting, float | None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    def ask(self, posting: Posting) -> None:
        """Wait for a call, at most the job's timeout."""
        job = posting.job
        key = posting.box.keys.limits(job.graph, job.tool or "")
        until = None if job.timeout is None else self._clock() + job.timeout
        queue = self._queues.get(key)
        if until is not None:
            self._loop.call_at(until, self._expire, posting)
        if queue is None:
            self._queues[key] = queue = deque()
            task = self._loop.create_task(self._serve(key, queue))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        queue.append((posting, until))

    def _expire(self, posting: Posting) -> None:
        if posting.stage is Stage.NEW:
            posting.stage = Stage.OVER
            if posting.box.breaker is not None:
                posting.box.breaker.forget()
            error = document("Timeout", "the tool's rate limit left no room in time")
            posting.job.owner.finished(posting.job, None, 0, error)

    async def _serve(self, key: str, queue: deque[tuple[Posting, float | None]]) -> None:
        try:
            while queue:
                while queue and queue[0][0].stage is not Stage.NEW:
                    queue.popleft()
                if queue:
                    await asyncio.sleep(await self._take(key, queue))
        finally:
            del self._queues[key]

    async def _take(self, key: str, queue: deque[tuple[Posting, float | None]]) -> float:
        """Let as many go as may; return the seconds until the next look."""
        limit = queue[0][0].route.limit
        if limit is None:
            self._go(queue.popleft()[0])
            return 0.0
        burst = min(limit.burst or limit.requests_per_minute, limit.requests_per_minute)
        wanted = min(MOST, sum(posting.stage is Stage.NEW for posting, _ in queue))
        script = TAKE.call([key], limit.requests_per_minute, burst, wanted, secrets.token_hex(8))
        try:
            (reply,) = await self._outbox.line.send(script)
        except ConnectionError:
            return PAUSE
        if isinstance(reply, ReplyError):
            log.warning("Redis does not count a tool's calls", extra={"limit": key, "error": str(reply)})
            return PAUSE
        given, wait = int(reply[0]), int(reply[1]) / 1e6
        while queue and given:
            posting, _ = queue.popleft()
            if posting.stage is Stage.NEW:
                given -= 1
                self._go(posting)
        return min(wait, 1.0) if queue else 0.0

    async def aclose(self) -> None:
        """Stop."""
        for task in tuple(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
