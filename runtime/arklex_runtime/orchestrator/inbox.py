"""What other processes, and people, ask of the runs of this one: each signal reaches its run once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from arklex_runtime.state.records import Signal

if TYPE_CHECKING:
    from arklex_runtime.orchestrator.driver import RunDriver
    from arklex_runtime.state.journal import Journal


class Inbox:
    """Signals to ``runs``, out of the journal. A signal is consumed with the commit of what it brought about."""

    def __init__(self, journal: Journal, runs: Mapping[str, RunDriver]) -> None:
        self._journal = journal
        self._runs = runs
        self._delivered: dict[str, set[int]] = {}

    async def look(self) -> None:
        """Deliver what has come since. Raises DatabaseUnavailable."""
        if self._runs and self._journal.changed():
            for signal in await self._journal.signals():
                self._deliver(signal)

    async def look_for(self, run_id: str) -> None:
        """Deliver what was left for a run. Raises DatabaseUnavailable."""
        for signal in await self._journal.signals(run_id):
            self._deliver(signal)

    def forget(self, run_id: str) -> None:
        """The run is over, or its next owner begins: what was not consumed comes again."""
        self._delivered.pop(run_id, None)

    def _deliver(self, signal: Signal) -> None:
        driver = self._runs.get(signal.run_id)
        if driver is not None and signal.id not in (delivered := self._delivered.setdefault(signal.run_id, set())):
            delivered.add(signal.id)
            driver.signal(signal)
