"""``run``, ``resume`` and ``retry``: one run, from its acceptance to its end, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arklex_api.taskgraph import RunInputs, TaskGraph
from arklex_runtime.cli import inputs
from arklex_runtime.cli.failures import Interrupted
from arklex_runtime.cli.interrupts import Interrupts
from arklex_runtime.cli.progress import INTERVAL, Lines, Silent, View
from arklex_runtime.cli.questions import Questions
from arklex_runtime.cli.terminal import Terminal

if TYPE_CHECKING:
    from arklex_api.loader import Manifests
    from arklex_runtime.orchestrator.driver import RunDriver
    from arklex_runtime.orchestrator.host import RunHost
    from arklex_runtime.orchestrator.requests import Request

Begin = Callable[["RunHost"], Awaitable["RunDriver | dict[str, Any]"]]


@dataclass(frozen=True, slots=True)
class Order:
    """What the command line asks to run, as typed."""

    graph: str | None = None
    query: str | None = None
    input: str | None = None
    context: str | None = None
    session: str | None = None


@dataclass(slots=True)
class Stage:
    """Where a run is played: its database, threads, secrets and audience.

    ``end`` is given the document of a run that is over and returns the exit code; by default it is printed.
    """

    terminal: Terminal
    db: str | None
    max_workers: int
    secrets: Mapping[str, Mapping[str, str]]
    quiet: bool = False
    end: Callable[[dict[str, Any]], int] | None = None


def run_files(
    terminal: Terminal, files: Sequence[str], order: Order, db: str | None, *, max_workers: int = 4, quiet: bool = False
) -> int:
    """Run a graph of ``files``."""
    manifests = inputs.accepted_manifests(files)
    stage = Stage(terminal, db, max_workers, manifests.secrets, quiet)
    return run_manifests(stage, manifests, order, inputs.handler_folders(files))


def run_manifests(stage: Stage, manifests: Manifests, order: Order, folders: Sequence[Path]) -> int:
    """Run a graph of ``manifests``, which lint has accepted, with handlers from ``folders``."""
    name = inputs.choose_graph(manifests, order.graph)
    graph = manifests.graphs[name]
    request = _request(graph, order)
    if not stage.quiet:
        _remark(stage.terminal, graph)

    async def begin(host: RunHost) -> RunDriver:
        from arklex_runtime.engine.program import Program

        kept = tuple(str(folder) for folder in folders)
        return await host.start(Program.of(name, manifests.graphs, manifests.workers, folders=kept), request)

    return _conduct(stage, begin, folders)


def _request(graph: TaskGraph, order: Order) -> Request:
    """What is asked for; ``spec.run`` where nothing is."""
    from arklex_runtime.orchestrator.requests import Request

    context = inputs.read_map(order.context, "--context")
    given = inputs.read_json(order.input, "--input")
    default = graph.spec.run if order.query is None and order.input is None and graph.spec.run else RunInputs()
    return Request(
        order.query if order.query is not None else default.query or "",
        given if order.input is not None else default.input,
        context if context is not None else default.context or {},
        order.session or default.session_id,
    )


def _remark(terminal: Terminal, graph: TaskGraph) -> None:
    ignored = [name for name in ("schedule", "suspend", "history") if graph.spec.given(name)]
    if ignored:
        names = ", ".join(f"spec.{name}" for name in ignored)
        terminal.note(f"note: {names} {'is' if len(ignored) == 1 else 'are'} for the cluster and ignored here")


def resume_run(
    terminal: Terminal,
    run: str,
    files: Sequence[str],
    path: Sequence[str],
    db: str | None,
    *,
    max_workers: int = 4,
    quiet: bool = False,
) -> int:
    """Go on with a run; of one that is over, print its document again."""
    stage = Stage(terminal, db, max_workers, {}, quiet)
    return _again(stage, files, path, lambda host: host.resume(run))


def retry_run(
    terminal: Terminal,
    run: str,
    start: str | None,
    files: Sequence[str],
    path: Sequence[str],
    db: str | None,
    *,
    max_workers: int = 4,
    quiet: bool = False,
) -> int:
    """Run again what failed in a run that is over."""
    stage = Stage(terminal, db, max_workers, {}, quiet)
    return _again(stage, files, path, lambda host: host.retry(run, start))


def _again(stage: Stage, files: Sequence[str], path: Sequence[str], begin: Begin) -> int:
    """As ``begin`` says; handlers are found where the run was accepted, and in the folders given."""
    if files:
        stage.secrets = inputs.accepted_manifests(files).secrets
    return _conduct(stage, begin, inputs.handler_folders(files, path))


def _conduct(stage: Stage, begin: Begin, folders: Sequence[Path]) -> int:
    from arklex_runtime.orchestrator.orchestrator import loop_factory
    from arklex_runtime.workers.imports import handler_path

    interrupts = Interrupts()
    with interrupts.installed(), handler_path(folders):
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                return runner.run(_play(stage, begin, interrupts))
        except KeyboardInterrupt:
            return interrupts.code or 130


async def _play(stage: Stage, begin: Begin, interrupts: Interrupts) -> int:
    from arklex_runtime.cli.terminal import CurrentStderr, quiet_libraries
    from arklex_runtime.observability.logs import setup_logging
    from arklex_runtime.orchestrator.host import RunHost
    from arklex_runtime.orchestrator.workbench import Workbench
    from arklex_runtime.security.secrets import SecretResolver
    from arklex_runtime.state.journal import open_journal
    from arklex_runtime.state.results import ResultCache

    view = _view(stage)
    stopped = asyncio.ensure_future(interrupts.wait())
    journal = await open_journal(inputs.database(stage.db))
    workbench = Workbench(SecretResolver(stage.secrets), ResultCache())
    setup_logging(stream=CurrentStderr(), redactor=lambda: workbench.redactor)
    quiet_libraries()
    host = RunHost(journal, workbench, max_workers=stage.max_workers)
    asked: list[tuple[RunDriver, str, str]] = []
    host.on_approval = lambda *question: asked.append(question)
    try:
        found = await _until(begin(host), stopped)
        if found is None:
            stage.terminal.note("stopped before anything ran")
            return interrupts.code
        if isinstance(found, dict):
            return _end(stage, found)
        return await _follow(stage, view, host, found, stopped, interrupts, asked)
    finally:
        stopped.cancel()
        await host.aclose()


async def _until(work: Awaitable[Any], stopped: asyncio.Future[None]) -> Any:
    """What ``work`` gives, or None if a signal comes first."""
    task = asyncio.ensure_future(work)
    await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        return task.result()
    task.cancel()
    return None


async def _follow(
    stage: Stage,
    view: View,
    host: RunHost,
    driver: RunDriver,
    stopped: asyncio.Future[None],
    interrupts: Interrupts,
    asked: list[tuple[RunDriver, str, str]],
) -> int:
    """See the run to its end, or to a signal. ``asked`` are the questions that came before anybody listened."""
    terminal = stage.terminal
    questions = Questions(terminal, view, stage.db, ask=terminal.interactive and not stage.quiet)
    pulse = _Pulse(view)
    host.observer = pulse.event
    host.on_approval = questions.wanted
    view.open(driver)
    for question in asked:
        questions.wanted(*question)
    beating = asyncio.ensure_future(pulse.beat())
    try:
        both: list[asyncio.Future[Any]] = [driver.ended, stopped]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        questions.close()
        beating.cancel()
        view.close()
    again = inputs.command("resume", driver.run_id, db=stage.db)
    if not driver.ended.done():
        terminal.note(f"stopped; go on with: {again}")
        return interrupts.code
    if (error := driver.ended.exception()) is not None:
        raise Interrupted(error, again) if driver.committed else error
    return _end(stage, host.finished_document(driver))


def _end(stage: Stage, document: dict[str, Any]) -> int:
    return stage.end(document) if stage.end else finish(stage.terminal, document, quiet=stage.quiet)


def _view(stage: Stage) -> View:
    if stage.quiet:
        return Silent()
    if stage.terminal.interactive:
        from arklex_runtime.cli.live import LiveTable

        return LiveTable()
    return Lines(stage.terminal)


class _Pulse:
    """Lets the view look at the run every INTERVAL seconds, or a tenth of the time where a look takes long."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._changed = True

    def event(self, *_: object) -> None:
        """Something durable happened (RunHost.observer)."""
        self._changed = True

    async def beat(self) -> None:
        """Look for ever."""
        loop = asyncio.get_running_loop()
        pause = INTERVAL
        while True:
            await asyncio.sleep(pause)
            changed, self._changed = self._changed, False
            began = loop.time()
            self._view.look(changed)
            pause = max(INTERVAL, 9 * (loop.time() - began))


def finish(terminal: Terminal, document: dict[str, Any], *, quiet: bool = False) -> int:
    """Print the end of a run: its document or, as text, its output; returns the exit code."""
    if terminal.json:
        terminal.document(document)
    elif isinstance(document["output"], str):
        terminal.print(document["output"])
    elif document["output"] is not None:
        terminal.document(document["output"])
    if document["phase"] == "Succeeded":
        return 0
    error = document["error"]
    if not quiet or not terminal.json:
        kind = f" ({error['type']})" if error and error["type"] != "Failed" else ""
        said = f": {error['message']}" if error else ""
        terminal.note(f"run {document['run']} {document['phase'].lower()}{kind}{said}")
    return 1
