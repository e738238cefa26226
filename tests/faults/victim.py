"""One life of a process that runs graphs: starts its runs, or resumes them, until they end or a fault ends the process."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import json
import signal
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from arklex_runtime.engine.events import Accepted, Event, Finished
from arklex_runtime.engine.program import Program
from arklex_runtime.errors import ArklexError, DatabaseUnavailable
from arklex_runtime.orchestrator.attempt import path_of
from arklex_runtime.orchestrator.driver import RunDriver
from arklex_runtime.orchestrator.host import RunHost
from arklex_runtime.orchestrator.requests import Request
from arklex_runtime.orchestrator.workbench import Workbench
from arklex_runtime.security.secrets import SecretResolver
from arklex_runtime.state import sqlite
from arklex_runtime.state.journal import open_journal
from arklex_runtime.state.results import ResultCache
from tests.faults.graphs import Handlers, program
from tests.faults.ledger import ACCEPTED, COMMITTED, Ledger
from tests.faults.points import Faults


@dataclass(slots=True)
class Life:
    """What one process is to do: end the runs of ``graph`` called ``runs``, in the database ``db``.

    ``plan`` is the boundary to die at. ``out`` gets what came of it: documents, boundaries reached, or the error.
    ``pages``: after how many the log is copied into the database. ``pace``: seconds that each handler takes.
    """

    db: str
    ledger: str
    out: str
    graph: str
    runs: list[str]
    plan: tuple[str, str, int] | None = None
    session: str | None = None
    pages: int = 2000
    pace: float = 0.0

    @classmethod
    def of(cls, text: str) -> Life:
        """Read what ``text`` says."""
        raw = json.loads(text)
        plan = raw.pop("plan")
        return cls(**raw, plan=(plan[0], plan[1], plan[2]) if plan else None)

    @property
    def text(self) -> str:
        """This, for ``of``."""
        return json.dumps(asdict(self))


@dataclass(slots=True)
class Outcome:
    """What a victim says of its life when it did not die."""

    documents: dict[str, Any] = field(default_factory=dict)
    reached: dict[str, int] = field(default_factory=dict)
    error: str | None = None
    cause: str | None = None
    pid: int | None = None
    started: list[str] = field(default_factory=list)
    stopped: bool = False


def live(life: Life, programs: dict[str, Program] | None = None) -> int:
    """Do it; returns the exit code: 0, or 3 for an error, which is then in ``out``. SIGUSR1 makes it say where it is."""
    faulthandler.register(signal.SIGUSR1)
    faults = Faults(life.plan)
    faults.install()
    vars(sqlite)["CHECKPOINT_PAGES"] = life.pages
    outcome = Outcome()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_live(life, faults, outcome, (programs or {}).get(life.graph) or program(life.graph)))
        except ArklexError as error:
            outcome.error = f"{type(error).__name__}: {error}"
            outcome.cause = error.cause if isinstance(error, DatabaseUnavailable) else None
            outcome.pid = getattr(error, "pid", None)
    outcome.reached = dict(faults.counts)
    Path(life.out).write_text(json.dumps(asdict(outcome)))
    return 3 if outcome.error else 0


async def _live(life: Life, faults: Faults, outcome: Outcome, graph: Program) -> None:
    ledger = Ledger(life.ledger)
    workbench = Workbench(SecretResolver(), ResultCache(), Handlers(ledger, faults, life.pace).given())
    journal = await open_journal(life.db)
    faults.wrap_submit(journal)
    host = RunHost(journal, workbench, max_workers=2)
    for method in ("acquire", "launch", "_done"):
        faults.wrap(host.dispatcher, method, f"dispatch.{method.strip('_')}")
    host.observer = _Observer(ledger)
    host.on_approval = _approve
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        await _until(stop, _run_all(life, outcome, host, graph), outcome)
    finally:
        await host.aclose()


async def _until(stop: asyncio.Event, work: Any, outcome: Outcome) -> None:
    task, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
    outcome.stopped = not task.done()
    for one in (task, stopped):
        one.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await one


async def _run_all(life: Life, outcome: Outcome, host: RunHost, graph: Program) -> None:
    drivers: dict[str, RunDriver] = {}
    for run_id in life.runs:
        found: RunDriver | dict[str, Any]
        if await host.journal.load(run_id) is None:
            outcome.started.append(run_id)
            found = await host.start(graph, Request(input={"x": 1}, session_id=life.session, run_id=run_id))
        else:
            found = await host.resume(run_id)
        if isinstance(found, dict):
            outcome.documents[run_id] = found
        else:
            drivers[run_id] = found
    for run_id, driver in drivers.items():
        await driver.ended
        outcome.documents[run_id] = host.finished_document(driver)


class _Observer:
    """Writes what was acknowledged as durable into the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __call__(self, driver: RunDriver, event: Event) -> None:
        if isinstance(event, Accepted):
            self._ledger.write(ACCEPTED, driver.run_id)
        elif isinstance(event, Finished):
            self._ledger.write(COMMITTED, driver.run_id, path_of(event.key), event.attempt, "", event.error is None)


def _approve(driver: RunDriver, task: str, message: str) -> None:
    driver.host.spawn(driver.host.approve(driver.run_id, task, approved=True, by="a test"))
