"""How a run that goes on is shown on stderr: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from arklex_runtime.engine.document import phase_of
from arklex_runtime.engine.state import TERMINAL, RunState, Scope, TaskState
from arklex_runtime.picture.text import human_seconds

if TYPE_CHECKING:
    from arklex_runtime.cli.terminal import Terminal
    from arklex_runtime.orchestrator.driver import RunDriver

INTERVAL = 0.1
"""Seconds between two looks at the run."""


class View(Protocol):
    """Something that follows a run."""

    def open(self, driver: RunDriver) -> None:
        """The run begins, or goes on, here."""

    def look(self, changed: bool) -> None:
        """Show what is new; ``changed`` if any event happened since the last time."""

    def pause(self) -> None:
        """Leave the terminal to a question; ``open`` goes on."""

    def close(self) -> None:
        """The run is over here: show its end and leave the terminal clean."""


class Silent:
    """Shows nothing."""

    def open(self, driver: RunDriver) -> None:
        """See View."""

    def look(self, changed: bool) -> None:
        """See View."""

    def pause(self) -> None:
        """See View."""

    def close(self) -> None:
        """See View."""


class Lines:
    """One line for each change of a task's phase, once it is durable."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._driver: RunDriver | None = None
        self._shown: dict[str, tuple[str, int]] = {}
        self._held: deque[tuple[int, str]] = deque()

    def open(self, driver: RunDriver) -> None:
        """See View."""
        if self._driver is None:
            for name, task in walk(driver.state):
                if task.finished_at is not None and task.finished_at <= driver.began:
                    self._shown[name] = (phase_of(task), attempts_of(task))
            self._held.append((max(driver.committed, 1), f"run {driver.run_id}"))
        self._driver = driver
        self._print(driver)

    def look(self, changed: bool) -> None:
        """See View."""
        driver = self._driver
        if driver is None or not changed:
            return
        news = []
        for name, task in walk(driver.state):
            now = (phase_of(task), attempts_of(task))
            known = self._shown.get(name, ("Pending", 0))
            if now[0] == known[0] and (now[0] != "Running" or now[1] == known[1] or task.node.items is not None):
                continue
            self._shown[name] = now
            news.append((task.finished_at or driver.state.now, -name.count("/"), line_of(name, task)))
        self._held += [(driver.latest, line) for *_, line in sorted(news, key=lambda item: item[:2])]
        self._print(driver)

    def _print(self, driver: RunDriver) -> None:
        """What was seen may not be durable yet: to say it then would be to promise it."""
        while self._held and self._held[0][0] <= driver.committed:
            self._terminal.note(self._held.popleft()[1])

    def pause(self) -> None:
        """See View."""
        self.look(True)

    def close(self) -> None:
        """See View."""
        self.look(True)


def walk(state: RunState) -> Iterator[tuple[str, TaskState]]:
    """Every task of the run, sub-graphs' too, with its path."""
    stack: list[Scope] = [state.root] if state.root is not None else []
    for scope in stack:
        for task in scope.tasks:
            yield scope.path + task.node.name, task
            stack += [unit.child for unit in task.units if unit.child is not None]


def attempts_of(task: TaskState) -> int:
    """Attempts started, all items together."""
    return sum(unit.attempts for unit in task.units)


def elapsed(task: TaskState, now: float) -> float | None:
    """Seconds since the task started, or that it took; None before."""
    return None if task.started_at is None else max((task.finished_at or now) - task.started_at, 0.0)


def error_text(error: Mapping[str, Any]) -> str:
    """``Type: message``; the message alone where the type says nothing."""
    return str(error["message"]) if error["type"] == "Failed" else f"{error['type']}: {error['message']}"


def line_of(name: str, task: TaskState) -> str:
    """``name Phase, attempts, time: error``."""
    phase = phase_of(task)
    words = [f"{name} {phase}"]
    if attempts_of(task) > 1 and task.node.items is None:
        words.append(f"{attempts_of(task)} attempts")
    if task.units and task.node.items is not None:
        words.append(f"{task.done}/{len(task.units)} items")
    if task.terminal and (took := elapsed(task, task.finished_at or 0.0)) is not None and phase != "Skipped":
        words.append(human_seconds(took))
    said = ", ".join(words)
    if said and any(unit.cached for unit in task.units):
        said += ", from the cache"
    if task.error is not None and phase != "Skipped":
        said += f": {error_text(task.error)}"
    elif task.reason:
        said += f" ({task.reason})"
    return said


class Beat:
    """Says when a live table is worth drawing again: after a change, or a second later for its clocks."""

    def __init__(self) -> None:
        self._drawn = 0.0

    def due(self, changed: bool) -> bool:
        """Whether to draw now."""
        now = time.monotonic()
        if not changed and now - self._drawn < 0.5:
            return False
        self._drawn = now
        return True


def counted(state: RunState) -> dict[str, int]:
    """How many tasks are in each phase."""
    found: dict[str, int] = {}
    for _, task in walk(state):
        phase = task.phase if task.phase in TERMINAL else phase_of(task)
        found[phase] = found.get(phase, 0) + 1
    return found
