"""Commands on runs that this process does not run: runs, show, cancel, approve, delete, prune."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from arklex_api.durations import seconds
from arklex_runtime.cli import inputs
from arklex_runtime.cli.failures import Refused
from arklex_runtime.cli.terminal import Terminal
from arklex_runtime.engine.times import rfc3339
from arklex_runtime.picture.text import human_seconds

if TYPE_CHECKING:
    from arklex_runtime.orchestrator.host import RunHost
    from arklex_runtime.state.records import RunRow

T = TypeVar("T")
PHASES = ("Pending", "Running", "Succeeded", "Failed", "Cancelled")


def _with_host(db: str | None, work: Callable[[RunHost], Awaitable[T]]) -> T:
    """What ``work`` gives over the journal at ``db``, which is closed afterwards."""

    async def do() -> T:
        from arklex_runtime.orchestrator.host import RunHost
        from arklex_runtime.orchestrator.workbench import Workbench
        from arklex_runtime.security.secrets import SecretResolver
        from arklex_runtime.state.journal import open_journal
        from arklex_runtime.state.results import ResultCache

        host = RunHost(await open_journal(inputs.database(db)), Workbench(SecretResolver({}), ResultCache()))
        try:
            return await work(host)
        finally:
            await host.aclose()

    return asyncio.run(do())


def list_runs(terminal: Terminal, phase: str | None, graph: str | None, limit: int, db: str | None) -> int:
    """Newest first."""
    wanted = phase.capitalize() if phase else None
    if wanted and wanted not in PHASES:
        raise Refused.of("--phase", "UnknownPhase", f"'{phase}' is not one of {', '.join(PHASES)}")
    rows = _with_host(db, lambda host: host.journal.list_runs(wanted, graph, limit))
    if terminal.json:
        terminal.document([_row(row) for row in rows])
        return 0
    if not rows:
        terminal.note("no runs")
        return 0
    now = time.time()
    lines = [(row.run_id, row.graph, row.phase, rfc3339(row.started_at), _took(row, now)) for row in rows]
    terminal.columns(("RUN", "GRAPH", "PHASE", "STARTED", "TOOK"), lines)
    return 0


def _row(row: RunRow) -> dict[str, Any]:
    return {"run": row.run_id, "graph": row.graph, "phase": row.phase, "startedAt": rfc3339(row.started_at)}


def _took(row: RunRow, now: float) -> str:
    return human_seconds(max((row.finished_at or now) - row.started_at, 0.0))


def show_run(terminal: Terminal, run: str, db: str | None, *, events: bool = False, picture: str | None = None) -> int:
    """The run's document; with ``events`` also its history, with ``picture`` also its drawing."""
    from arklex_runtime.cli.history import shown
    from arklex_runtime.engine.document import run_document
    from arklex_runtime.engine.history import history

    stored, program, state = _with_host(db, lambda host: host.stored(run))
    document = run_document(state, stored.row.graph)
    if events:
        document["events"] = history(program, stored.events)
    if picture is not None:
        _draw(terminal, document, program, picture)
    if terminal.json:
        terminal.document(document)
    else:
        shown(terminal, document)
    return 0


def _draw(terminal: Terminal, document: dict[str, Any], program: Any, target: str) -> None:
    from datetime import UTC, datetime

    from arklex_runtime.cli.checks import draw
    from arklex_runtime.picture.adapter import diagram_of

    draw(terminal, diagram_of(program.plan, document["graph"], program.workers, document, datetime.now(UTC)), target)


def show_logs(terminal: Terminal, run: str, task: str | None, db: str | None) -> int:
    """What the attempts logged, as far as the journal has it: handlers that run embedded log to stderr."""
    from arklex_runtime.cli.remote.commands import print_logs
    from arklex_runtime.orchestrator.logs import log_documents

    async def work(host: RunHost) -> list[dict[str, Any]]:
        await host.stored(run)
        return log_documents(await host.journal.attempt_logs(run), task)

    print_logs(terminal, _with_host(db, work))
    return 0


def cancel_run(terminal: Terminal, run: str, db: str | None) -> int:
    """Ask a run to end."""

    async def work(host: RunHost) -> bool:
        await host.cancel(run)
        return any(row.run_id == run for row in await host.journal.orphans())

    orphan = _with_host(db, work)
    if terminal.json:
        terminal.document({"run": run, "cancel": "requested", "owned": not orphan})
    else:
        terminal.print(f"run {run} is asked to end")
    _remind(terminal, run, db, orphan)
    return 0


def _remind(terminal: Terminal, run: str, db: str | None, orphan: bool) -> None:
    if orphan:
        terminal.note(f"no process runs it now; this takes effect with: {inputs.command('resume', run, db=db)}")


def approve_task(
    terminal: Terminal, run: str, task: str, db: str | None, *, approved: bool, data: str | None, by: str | None
) -> int:
    """Decide on an approval."""
    value = inputs.read_json(data, "--data")
    name = by or login()

    async def work(host: RunHost) -> bool:
        await host.approve(run, task, approved=approved, by=name, data=value)
        return any(row.run_id == run for row in await host.journal.orphans())

    orphan = _with_host(db, work)
    if terminal.json:
        terminal.document({"run": run, "task": task, "approved": approved, "by": name})
    else:
        terminal.print(f"{task} of {run}: {'approved' if approved else 'rejected'}")
    _remind(terminal, run, db, orphan)
    return 0


def login() -> str | None:
    """Who decides, where nobody is named."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return None


def delete_run(terminal: Terminal, run: str, db: str | None) -> int:
    """Forget a run."""
    _with_host(db, lambda host: host.journal.delete_run(run))
    if terminal.json:
        terminal.document({"run": run, "deleted": True})
    else:
        terminal.print(f"run {run} is deleted")
    return 0


def prune_runs(terminal: Terminal, older_than: str, db: str | None) -> int:
    """Forget runs that ended longer ago than ``older_than``, a Go duration."""
    try:
        age = seconds(older_than)
    except ValueError as error:
        raise Refused.of("--older-than", "Invalid", str(error)) from None
    count = _with_host(db, lambda host: host.journal.prune(time.time() - age))
    if terminal.json:
        terminal.document({"deleted": count})
    else:
        terminal.print(f"{count} run{'' if count == 1 else 's'} deleted")
    return 0
