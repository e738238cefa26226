"""The live table of a run in a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from arklex_runtime.cli.progress import Beat, attempts_of, counted, elapsed, error_text, walk
from arklex_runtime.engine.document import phase_of
from arklex_runtime.picture.text import human_seconds

if TYPE_CHECKING:
    from arklex_runtime.engine.state import TaskState
    from arklex_runtime.orchestrator.driver import RunDriver

_LOOKS = {
    "Pending": ("·", "dim"), "Waiting": ("⏸", "yellow"), "Running": ("●", "blue"), "Retrying": ("↻", "yellow"),
    "Succeeded": ("✓", "green"), "Failed": ("✗", "red"), "Skipped": ("»", "dim"), "Cancelled": ("■", "magenta"),
}  # fmt: skip
_URGENCY = {"Running": 0, "Retrying": 0, "Waiting": 0, "Failed": 1, "Cancelled": 2, "Succeeded": 3, "Skipped": 3, "Pending": 4}


class LiveTable:
    """Draws the run again and again; what does not fit on the screen is counted."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr)
        self._live: Live | None = None
        self._driver: RunDriver | None = None
        self._beat = Beat()

    def open(self, driver: RunDriver) -> None:
        """See View."""
        self._driver = driver
        self._live = Live(self._draw(), console=self._console, auto_refresh=False, redirect_stdout=False)
        self._live.start()

    def look(self, changed: bool) -> None:
        """See View."""
        if self._live is not None and self._beat.due(changed):
            self._live.update(self._draw(), refresh=True)

    def pause(self) -> None:
        """See View."""
        if self._live is not None:
            self._live.transient = True
            self._live.stop()
            self._live = None

    def close(self) -> None:
        """See View."""
        if self._live is not None:
            if self._driver is not None and self._driver.broken is None:
                self._live.update(self._draw(), refresh=True)
            self._live.stop()
            self._live = None

    def _draw(self) -> RenderableType:
        driver = self._driver
        if driver is None:
            return Text("")
        state, now = driver.state, driver.host.now()
        rows = list(walk(state))
        room = max(self._console.size.height - 4, 3)
        shown = rows
        if len(rows) > room:
            ranked = sorted(range(len(rows)), key=lambda place: (_URGENCY[phase_of(rows[place][1])], -place))
            shown = [rows[place] for place in sorted(ranked[: room - 1])]
        table = Table.grid(padding=(0, 2))
        for name, task in shown:
            table.add_row(*_cells(name, task, now))
        title = Text.assemble((driver.run_id, "bold"), f"  {state.phase}  {human_seconds(max(now - state.started_at, 0.0))}")
        parts: list[RenderableType] = [title, table]
        if len(shown) < len(rows):
            counts = ", ".join(f"{count} {phase}" for phase, count in counted(state).items())
            parts.append(Text(f"{len(shown)} of {len(rows)} tasks shown: {counts}", "dim"))
        return Group(*parts)


def _cells(name: str, task: TaskState, now: float) -> list[RenderableType]:
    phase = phase_of(task)
    sign, style = _LOOKS[phase]
    took = elapsed(task, now)
    attempts = attempts_of(task)
    return [
        Text(f"{sign} {name}", style),
        Text(phase, style),
        Text(human_seconds(took) if took is not None and phase != "Skipped" else "", "dim", justify="right"),
        Text(f"{attempts} attempts" if attempts > 1 and task.node.items is None else "", "dim"),
        _remark(task),
    ]


def _remark(task: TaskState) -> RenderableType:
    if task.node.items is not None and task.units and not task.terminal:
        bar = Table.grid(padding=(0, 1))
        bar.add_row(ProgressBar(len(task.units), task.done, width=20), f"{task.done}/{len(task.units)}")
        return bar
    if task.error is not None and task.phase != "Skipped":
        return Text(error_text(task.error), "red", overflow="ellipsis", no_wrap=True)
    if any(unit.cached for unit in task.units):
        return Text("from the cache", "dim")
    return Text(task.reason or "", "dim", overflow="ellipsis", no_wrap=True)
