"""Approvals asked in the terminal where the run goes on."""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
from collections import deque
from typing import TYPE_CHECKING

from arklex_runtime.cli.inputs import command
from arklex_runtime.cli.terminal import Terminal
from arklex_runtime.errors import ArklexError

if TYPE_CHECKING:
    from arklex_runtime.cli.progress import View
    from arklex_runtime.orchestrator.driver import RunDriver


class Questions:
    """Asks for each approval in turn or, without a terminal, says which command answers it."""

    def __init__(self, terminal: Terminal, view: View, db: str | None, *, ask: bool) -> None:
        self._terminal = terminal
        self._view = view
        self._db = db
        self._ask = ask
        self._waiting: deque[tuple[RunDriver, str, str]] = deque()
        self._asking: asyncio.Task[None] | None = None

    def wanted(self, driver: RunDriver, task: str, message: str) -> None:
        """An approval waits (RunHost.on_approval)."""
        if not self._ask:
            words = command("approve", driver.run_id, task, db=self._db)
            self._terminal.note(f"{task} waits for a decision: {message}\n  yes: {words}\n  no:  {words} --reject")
            return
        self._waiting.append((driver, task, message))
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask_all())

    async def _ask_all(self) -> None:
        while self._waiting:
            driver, task, message = self._waiting.popleft()
            self._view.pause()
            try:
                await self._settle(driver, task, message)
            finally:
                self._view.open(driver)

    async def _settle(self, driver: RunDriver, task: str, message: str) -> None:
        self._terminal.note(f"\n{task}: {message}")
        while driver.approval_key(task) is not None:
            answer = await self._line(driver, task, "Approve? [yes/no, then optional JSON data]: ")
            if answer is None:
                return
            word, _, rest = answer.strip().partition(" ")
            if word.lower() not in ("y", "yes", "n", "no"):
                continue
            try:
                data = json.loads(rest) if rest.strip() else None
                await driver.host.approve(
                    driver.run_id, task, approved=word.lower().startswith("y"), by=getpass.getuser(), data=data
                )
                return
            except (ArklexError, ValueError) as error:
                self._terminal.note(str(error))

    async def _line(self, driver: RunDriver, task: str, prompt: str) -> str | None:
        """A line from the terminal; None at its end, or when somebody else has decided."""
        loop = asyncio.get_running_loop()
        read: asyncio.Future[str] = loop.create_future()
        sys.stderr.write(prompt)
        sys.stderr.flush()

        def ready() -> None:
            if not read.done():
                read.set_result(sys.stdin.readline())

        loop.add_reader(sys.stdin.fileno(), ready)
        try:
            while not read.done():
                await asyncio.wait([read], timeout=0.3)
                if not read.done() and driver.approval_key(task) is None:
                    self._terminal.note("\ndecided elsewhere")
                    return None
            return read.result() or None
        finally:
            loop.remove_reader(sys.stdin.fileno())

    def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
