"""What a process that runs graphs shares: journal, dispatcher, clock, and the runs it owns. Built once, closed once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import random
import secrets
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from arklex_api.base import JSON
from arklex_runtime.dispatch.jobs import Dispatcher
from arklex_runtime.dispatch.local import LocalDispatcher
from arklex_runtime.engine.again import kept
from arklex_runtime.engine.document import run_document
from arklex_runtime.engine.events import Accepted, Event
from arklex_runtime.engine.history import history
from arklex_runtime.engine.program import Program, ProgramError
from arklex_runtime.engine.state import RunState
from arklex_runtime.engine.step import replay
from arklex_runtime.errors import (
    AlreadyDecided,
    ApprovalNotFound,
    ConflictError,
    DatabaseUnavailable,
    Fenced,
    RunFinished,
    RunNotFound,
    ValidationError,
)
from arklex_runtime.orchestrator.driver import RunDriver
from arklex_runtime.orchestrator.flushing import Flusher
from arklex_runtime.orchestrator.inbox import Inbox
from arklex_runtime.orchestrator.requests import Request, accept, new_run_id
from arklex_runtime.scaling.memory import MemoryManager
from arklex_runtime.state.records import CachePut, NewRun, StoredRun

if TYPE_CHECKING:
    from arklex_runtime.orchestrator.workbench import Workbench
    from arklex_runtime.state.journal import Journal

TERMINAL = ("Succeeded", "Failed", "Cancelled")
BUNDLE_KNOWN = 900.0
"""Seconds for which a program that was stored counts as stored: later, retention may have deleted it with its last run."""
SELDOM = 20
"""Looks for signals (4 a second) between two looks at the memory and at timers that were far off."""

Observer = Callable[[RunDriver, Event], None]
ApprovalObserver = Callable[[RunDriver, str, str], None]


class RunHost:
    """Runs graphs over one journal. Everything happens in the event loop it was made in.

    ``dispatcher`` is by default one that runs attempts in this process, at most ``max_workers`` of sync handlers at once.
    ``observer`` hears every event once it is durable; ``on_approval`` every approval that waits for a person.
    """

    def __init__(
        self, journal: Journal, workbench: Workbench, *, max_workers: int = 4, dispatcher: Dispatcher | None = None
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.journal = journal
        self.workbench = workbench
        self.dispatcher: Dispatcher = dispatcher or LocalDispatcher(
            self.loop, workbench.lane_of, workbench.reserve, workbench.redact, max_workers
        )
        self.random = random.Random(secrets.randbits(64)).random
        self.observer: Observer | None = None
        self.on_approval: ApprovalObserver | None = None
        self.runs: dict[str, RunDriver] = {}
        self.now = workbench.clock
        self.flusher = Flusher(self.loop)
        self._inbox = Inbox(journal, self.runs)
        self._bundles: dict[str, float] = {}
        self._programs: WeakValueDictionary[str, Program] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Task[None] | None = None
        self._memory = MemoryManager(also=(workbench.clear_caches,))
        self.dispatcher.attach(self.namespace_of)

    def namespace_of(self, run_id: str) -> str | None:
        """The namespace of a run that is owned here."""
        driver = self.runs.get(run_id)
        return None if driver is None else driver.program.namespace

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` beside everything else, until the host closes."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, driver: RunDriver) -> None:
        """``driver`` is done."""
        if self.runs.get(driver.run_id) is driver:
            del self.runs[driver.run_id]
        self._inbox.forget(driver.run_id)

    async def start(
        self, program: Program, request: Request, reuse: dict[str, JSON] | None = None, session: dict[str, JSON] | None = None
    ) -> RunDriver:
        """Begin a run; it is accepted once its first commit is (``RunDriver.ended`` fails otherwise).

        ``reuse`` are outputs of an earlier run, by task; ``session`` is where a run without a shared session begins.
        Raises ValidationError for an input that the graph's schema refuses, a query that is too long, a handler that cannot be
        loaded; DatabaseUnavailable.
        """
        given, context = accept(program, request)
        self.workbench.prepare(program)
        await self._store(program)
        session = await self.journal.get_session(request.session_id) if request.session_id else session or {}
        now = self.now()
        run_id = request.run_id or new_run_id(program.root, now, self.random)
        driver = RunDriver(self, program, run_id, RunState(), 1, request.session_id, request.origin)
        self.runs[run_id] = driver
        new_run = NewRun(run_id, program.root, program.namespace, program.digest, request.session_id, now, request.origin)
        driver.begin(Accepted(now, run_id, request.query, given, context, session, reuse), new_run)
        self._listen()
        return driver

    async def _store(self, program: Program) -> None:
        """See to it that the journal has the program, and keeps it until the run that is to follow is accepted."""
        now = self.now()
        if now - self._bundles.get(program.digest, -math.inf) > BUNDLE_KNOWN:
            await self.journal.put_bundle(program.digest, program.document)
            self._bundles = {digest: at for digest, at in self._bundles.items() if at > now - BUNDLE_KNOWN}
            self._bundles[program.digest] = now

    async def retry(self, run_id: str, from_task: str | None = None) -> RunDriver:
        """Run a finished run again, as a new run with the same inputs: what succeeded is kept, unless it comes after
        something that runs again or after ``from_task``.

        Raises RunNotFound, ConflictError for a run that is not over, ValidationError for an unknown task.
        """
        stored, program, state = await self.stored(run_id)
        if state.finished_at is None or state.root is None:
            raise ConflictError(f"run '{run_id}' is not over: resume or cancel it")
        try:
            reuse = kept(state, from_task)
        except KeyError:
            raise ValidationError(f"graph '{stored.row.graph}' has no task '{from_task}'") from None
        base = state.root.base
        request = Request(base["query"], base["input"], base["context"], stored.row.session_id)
        return await self.start(program, request, reuse, state.session)

    async def stored(self, run_id: str) -> tuple[StoredRun, Program, RunState]:
        """A run as the journal has it. Raises RunNotFound, and DatabaseUnavailable for a run of a newer arklex."""
        stored = await self.journal.load(run_id)
        if stored is None:
            raise RunNotFound(run_id)
        program = self._programs.get(stored.row.bundle)
        if program is None:
            try:
                program = self._programs[stored.row.bundle] = Program.load(stored.document)
            except ProgramError as error:
                raise DatabaseUnavailable("newer", str(error)) from None
        return stored, program, replay(program, stored.events)

    async def resume(self, run_id: str) -> RunDriver | dict[str, Any]:
        """Take over a run whose owner is gone; the document of one that is over. Raises RunNotFound, RunOwned."""
        stored, program, state = await self.stored(run_id)
        if stored.row.phase in TERMINAL:
            return run_document(state, stored.row.graph)
        self.workbench.prepare(program)
        return await self.adopt(run_id)

    async def adopt(self, run_id: str) -> RunDriver:
        """As ``resume``, of a run that is not over. Raises RunFinished too."""
        seq = await self.journal.claim(run_id)
        stored, program, state = await self.stored(run_id)
        self.workbench.prepare(program)
        earlier = self.runs.get(run_id)
        if earlier is not None:
            earlier.break_off(Fenced(run_id))
        self._inbox.forget(run_id)
        driver = RunDriver(self, program, run_id, state, seq, stored.row.session_id, stored.row.origin)
        self.runs[run_id] = driver
        driver.resume()
        await self._inbox.look_for(run_id)
        self._listen()
        return driver

    @staticmethod
    def finished_document(driver: RunDriver) -> dict[str, Any]:
        """The document of a run that ended here."""
        return run_document(driver.state, driver.program.root)

    async def document(self, run_id: str) -> dict[str, Any]:
        """The run's document, of a run anywhere. Raises RunNotFound."""
        driver = self.runs.get(run_id)
        if driver is not None:
            return run_document(driver.state, driver.program.root)
        stored, _, state = await self.stored(run_id)
        return run_document(state, stored.row.graph)

    async def history(self, run_id: str) -> list[dict[str, Any]]:
        """What happened in a run, in order, and why it waits if it does. Raises RunNotFound."""
        stored, program, _ = await self.stored(run_id)
        return history(program, stored.events)

    async def cancel(self, run_id: str, reason: str = "cancelled") -> None:
        """Ask a run to end, wherever it runs. Raises RunNotFound, RunFinished."""
        stored, _, state = await self.stored(run_id)
        if state.finished_at is not None:
            raise RunFinished(f"run '{run_id}' is over: {stored.row.phase}")
        await self.journal.add_signal(run_id, "cancel", {"reason": reason}, None)

    async def approve(self, run_id: str, task: str, *, approved: bool, by: str | None = None, data: JSON = None) -> None:
        """Decide on an approval, wherever it runs. The first decision wins and repeating it changes nothing.

        Raises RunNotFound, ApprovalNotFound, AlreadyDecided for a contrary one, RunFinished for a late one, ValidationError
        for data that the approval's schema refuses.
        """
        from arklex_runtime.orchestrator.approvals import check_decision

        stored, _, state = await self.stored(run_id)
        decision = {"task": task, "approved": approved, "by": by, "data": data}
        if check_decision(state, task, approved, data):
            return
        if state.finished_at is not None:
            raise RunFinished(f"run '{run_id}' is over: {stored.row.phase}")
        if not await self.journal.add_signal(run_id, "approve", decision, f"approve:{task}"):
            known = await self.journal.get_signal(run_id, f"approve:{task}")
            if known is None:
                raise ApprovalNotFound(f"run '{run_id}' has no approval '{task}'")
            if known.data["approved"] != approved:
                verdict = "approved" if known.data["approved"] else "rejected"
                raise AlreadyDecided(f"'{task}' of run '{run_id}' is {verdict} already: the first decision stands")

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = self.loop.create_task(self._look_around())

    async def _look_around(self) -> None:
        for turn in itertools.count():
            await asyncio.sleep(0.25)
            if turn % SELDOM == 0:
                self._memory.check_memory_usage()
                for driver in tuple(self.runs.values()):
                    driver.rearm()
            with contextlib.suppress(DatabaseUnavailable):
                await self._inbox.look()

    async def cache_get(self, key: str) -> bytes | None:
        """A result kept by content, or None."""
        found: bytes | None = await self.workbench.cache.get(key, self.now(), self.journal)
        return found

    def cached(self, put: CachePut) -> None:
        """A result was kept: the levels above the journal may have it too."""
        self.workbench.cache.put(put.key, put.value, put.expires_at)

    async def hand_over(self) -> list[str]:
        """Stop owning every run at once: attempts that run elsewhere go on, and whoever claims a run waits for theirs.

        Returns the runs' ids. Raises DatabaseUnavailable: then the journal notices by itself that this owner is gone.
        """
        handed = list(self.runs.values())
        for driver in handed:
            driver.hand_over()
        self.runs.clear()
        for driver in handed:
            if not driver.ended.done():
                driver.ended.cancel()
        await self.journal.release_all()
        return [driver.run_id for driver in handed]

    def lose_all(self, error: BaseException) -> None:
        """Break off every run: this owner is dead to the others, who may have claimed them."""
        for driver in list(self.runs.values()):
            driver.break_off(error)

    async def aclose(self) -> None:
        """Give back what runs, commit that, close everything. Runs that were not over can be resumed."""
        open_runs = list(self.runs.values())
        for driver in open_runs:
            if self.dispatcher.remote:
                driver.hand_over()
            else:
                driver.interrupt()
        self.flusher.flush()
        for task in (*self._tasks, *([self._listener] if self._listener else ())):
            task.cancel()
        for driver in open_runs:
            if not driver.ended.done():
                driver.ended.cancel()
        await self.dispatcher.aclose()
        await self.workbench.aclose()
        await self.journal.close()
