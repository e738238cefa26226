"""The load of each Worker out of all sources, and what its HPA is told; nothing out of data that is too old."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from redis.exceptions import RedisError

from arklex_operator.cluster.errors import ApiError
from arklex_operator.cluster.queues import Key, Queue, Queues
from arklex_operator.load.controller import read_target
from arklex_operator.load.pool import Pool
from arklex_operator.load.publish import Told, tell
from arklex_operator.load.usage import Usage, usage
from arklex_operator.metrics.observed import Observed, Seen

FRESH = 30.0
"""Seconds after which a source is too old to scale by."""
ON_DEMAND = 1.0
"""Seconds for which an answer to one HPA serves the next question."""


class StaleError(Exception):
    """A source is too old; the message names it, and what to look at."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The last failure of a source, for messages and logs."""

    text: str
    at: float


class Loads:
    """What every Worker's HPA is told."""

    def __init__(self, observed: Observed, queues: Queues, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.observed, self.queues = observed, queues
        self._clock = clock
        self.failures: dict[str, Failure] = {}
        self._whole: dict[str, float] = {}
        self._asked: dict[Key, asyncio.Task[None]] = {}

    async def poll(self) -> None:
        """Read all sources anew. Never raises for a source that fails: its age tells."""
        await self._attempt("kubernetes", self.observed.poll)
        await asyncio.gather(
            self._attempt("redis", lambda: self.queues.read(list(self.observed.seen))),
            self._attempt("metrics.k8s.io", self.observed.poll_samples),
        )
        self.queues.forget(self.observed.seen.keys())

    async def ask(self, key: Key) -> Told | None:
        """What the HPA of a Worker is told, from data at most a second old; None when there is no such Worker.

        Raises StaleError when a source could not be read for 30 seconds.
        """
        seen = self.observed.seen.get(key)
        if seen is None:
            return None
        if seen.hpa is None or self._clock() - seen.at > ON_DEMAND:
            task = self._asked.get(key)
            if task is None:
                task = self._asked[key] = asyncio.create_task(self._refresh(key))
                task.add_done_callback(lambda _: self._asked.pop(key, None))
            await asyncio.shield(task)
        return self.told(key)

    def told(self, key: Key) -> Told | None:
        """As ``ask``, from what is known."""
        seen = self.observed.seen.get(key)
        if seen is None:
            return None
        pool = self.pool(key, seen)
        return tell(pool, read_target((seen.hpa or {}).get("spec") or {}))

    def pool(self, key: Key, seen: Seen) -> Pool:
        """A Worker's pool now. Raises StaleError."""
        now, queue = self._clock(), self.queues.of(key)
        self._fresh("kubernetes", seen.at, now)
        if queue is None:
            raise self._stale("redis", None, now)
        self._fresh("redis", queue.at, now)
        pool = _pool(seen, queue, now, self._usage(key, seen))
        known = not self.failures.get("metrics.k8s.io") or pool.queue_share > pool.scaling.scale_up_threshold
        if not known:  # CPU and memory can only add to the load: without them a pool may grow, not shrink
            self._fresh("metrics.k8s.io", self.observed.samples_at, now)
        return pool

    def age(self) -> dict[str, float]:
        """Seconds since each source was last read whole; those that never were are missing."""
        return {source: self._clock() - at for source, at in self._whole.items()}

    async def _refresh(self, key: Key) -> None:
        await asyncio.gather(
            self._attempt("kubernetes", lambda: self.observed.refresh(key), whole=False),
            self._attempt("redis", lambda: self.queues.read([key]), whole=False),
        )

    async def _attempt(self, source: str, read: Callable[[], Awaitable[None]], *, whole: bool = True) -> None:
        try:
            await read()
        except (ApiError, RedisError, OSError) as error:
            self.failures[source] = Failure(str(error) or type(error).__name__, self._clock())
        else:
            self.failures.pop(source, None)
            if whole:
                self._whole[source] = self._clock()

    def _usage(self, key: Key, seen: Seen) -> Usage | None:
        at = self.observed.samples_at
        if at is None or self._clock() - at > FRESH:
            return None
        names = (pod.name for pod in seen.pods)
        found = {name: sample for name in names if (sample := self.observed.samples.get((key[0], name)))}
        return usage(seen.pods, found)

    def _fresh(self, source: str, at: float | None, now: float) -> None:
        if at is None or now - at > FRESH:
            raise self._stale(source, at, now)

    def _stale(self, source: str, at: float | None, now: float) -> StaleError:
        failure = self.failures.get(source)
        age = "never read" if at is None else f"last read {now - at:.0f} s ago"
        return StaleError(f"{source}: {age}" + (f" ({failure.text})" if failure else ""))


def _pool(seen: Seen, queue: Queue, now: float, used: Usage | None) -> Pool:
    return Pool(
        seen.worker.spec.scaling,
        seen.worker.spec.concurrency,
        seen.desired,
        sum(pod.ready for pod in seen.pods),
        sum(pod.counted for pod in seen.pods),
        queue.queued,
        queue.in_flight,
        used,
        None if seen.changed is None else now - seen.changed,
        queue.at - queue.idle_since,
    )
