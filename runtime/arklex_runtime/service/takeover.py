"""Runs whose owner is gone are taken over: seen within a second, by the first in rank, the others a turn later each.

Who claims a run fences its old owner off (``runs.owner`` in the commit's transaction), so nothing here decides about safety.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from arklex_runtime.errors import ArklexError, DatabaseUnavailable, Overloaded, RunFinished, RunNotFound, RunOwned
from arklex_runtime.service.replica import LocalReplica

ROUND = 1.0
"""Seconds between two looks."""
TURN = 1.0
"""Seconds that each replica leaves to the one before it in rank."""
AT_ONCE = 16
"""Runs that are taken over at the same time: each reads its whole journal."""
LONGEST = 300.0
"""Seconds at most until a run that could not be taken over is tried again."""

log = logging.getLogger("arklex.runtime")


@dataclass(slots=True)
class _Seen:
    """A run without an owner; times are monotonic."""

    since: float
    again: float = 0.0
    failures: int = 0


class Takeover:
    """One replica's. ``round`` is done about once a second; what it starts goes on in tasks of ``group``."""

    def __init__(self, replica: LocalReplica, group: asyncio.TaskGroup) -> None:
        self._replica = replica
        self._group = group
        self._seen: dict[str, _Seen] = {}
        self._adopting: set[str] = set()
        self._strays: set[str] = set()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self.tasks: set[asyncio.Task[None]] = set()
        self.renewals = asyncio.Event()
        self.told: Callable[[str], None] = lambda run_id: None
        """Told of each run that was taken over from an owner that died, not of those that were handed over or only waited."""
        replica.journal.lost = self.renewals.set

    async def run(self, beat: Callable[[], None]) -> None:
        """For ever; ``beat`` is called after each round, whatever came of it."""
        while True:
            await self._pause()
            try:
                if self.renewals.is_set():
                    await self.begin_anew()
                if not self._replica.draining:
                    await self.round()
            except DatabaseUnavailable as error:
                log.warning("the journal does not answer", extra={"error": str(error)})
                await asyncio.sleep(ROUND)
            beat()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(ROUND):
                await self.renewals.wait()
        except TimeoutError:
            return

    async def begin_anew(self) -> None:
        """This replica is dead to the others (it hung, or the database was away): leave its runs, live on as a new owner."""
        replica = self._replica
        log.warning("the lease ran out: leaving all runs", extra={"owner": replica.journal.owner})
        replica.metrics.leases_lost.inc()
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)
        replica.host.lose_all(Overloaded("this replica was cut off from the journal for too long: ask again", 1.0))
        await replica.journal.renew()
        self.renewals.clear()
        log.info("an owner again", extra={"owner": replica.journal.owner})

    async def round(self) -> None:
        """Look once."""
        replica = self._replica
        replica.members = await replica.journal.members()
        await self._release_strays()
        rows, now = await replica.journal.awake(), time.monotonic()
        there = {row.run_id for row in rows}
        self._seen = {run_id: seen for run_id, seen in self._seen.items() if run_id in there}
        for row in rows:
            seen = self._seen.setdefault(row.run_id, _Seen(now))
            turn = seen.since + TURN * replica.rank(row.run_id)
            if now >= max(turn, seen.again) and row.run_id not in self._adopting:
                self._adopting.add(row.run_id)
                task = self._group.create_task(self._adopt(row.run_id, seen, abandoned=row.owner is not None))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)

    async def _release_strays(self) -> None:
        """Runs that are ours in the journal but driven by nobody, twice in a row: a commit failed, and its run was left."""
        replica = self._replica
        busy = self._adopting | replica.starting
        strays = {run_id for run_id in await replica.journal.mine() if run_id not in replica.host.runs and run_id not in busy}
        for run_id in strays & self._strays:
            if run_id not in replica.host.runs:
                log.warning("a run of ours had no driver", extra={"run": run_id})
                await replica.journal.release(run_id)
        self._strays = strays

    async def _adopt(self, run_id: str, seen: _Seen, *, abandoned: bool) -> None:
        replica = self._replica
        try:
            async with self._slots:
                if replica.draining:
                    return
                driver = await replica.host.adopt(run_id)
            replica.watch(driver)
            replica.metrics.taken_over.inc()
            log.info("run taken over", extra={"run": run_id})
            if abandoned:
                self.told(run_id)
        except (RunOwned, RunFinished, RunNotFound):
            return
        except ArklexError as error:
            self._failed(run_id, seen, error)
        except Exception as error:
            log.exception("a run cannot be taken over: a defect of arklex", extra={"run": run_id})
            self._failed(run_id, seen, error)
        finally:
            self._adopting.discard(run_id)

    def _failed(self, run_id: str, seen: _Seen, error: Exception) -> None:
        self._replica.metrics.adoptions_failed.inc()
        seen.failures += 1
        seen.again = time.monotonic() + min(LONGEST, 2.0**seen.failures)
        log.error("a run cannot be taken over", extra={"run": run_id, "error": str(error), "tries": seen.failures})
