"""Results on their way to Redis: those of one turn of the loop in one transaction, each until Redis has taken it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

from arklex_runtime.dispatch.streams.link import Command, Line, Replies, ReplyError
from arklex_runtime.dispatch.streams.wire import GROUP

RETRY = 0.5
"""Seconds before what Redis did not take is sent again."""
KEPT, KEPT_BYTES = 1000, 8 << 20
"""Of results that Redis has taken, for when it forgets them before they are read."""
MOST_BYTES = 4 << 20
"""In one transaction, unless a single result is larger."""

log = logging.getLogger("arklex.pod")
Token = TypeVar("Token", bound=Hashable)


class Results(Generic[Token]):
    """Adds results and removes the entries they answer, both or neither. Twice does no harm: owners refuse the second.

    ``taken`` hears of each token once Redis has its result; ``wanted`` says whether it is still to be sent.
    """

    def __init__(
        self, line: Line, results: str, jobs: str, taken: Callable[[Token], None], wanted: Callable[[Token], bool]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._line = line
        self._results = results
        self._jobs = jobs
        self._taken = taken
        self._wanted = wanted
        self._waiting: list[tuple[Token, bytes, bytes]] = []
        self._recent: deque[tuple[float, bytes]] = deque()
        self._kept = 0

    def say_again(self, seconds: float) -> None:
        """Redis was emptied: what it took in the last ``seconds`` may not have been read. Owners refuse what they had."""
        since = self._loop.time() - seconds
        for at, result in self._recent:
            if at >= since:
                self._line.send(("XADD", self._results, "*", "r", result))

    def _keep(self, result: bytes) -> None:
        self._recent.append((self._loop.time(), result))
        self._kept += len(result)
        while len(self._recent) > KEPT or self._kept > KEPT_BYTES:
            self._kept -= len(self._recent.popleft()[1])

    def put(self, token: Token, entry: bytes, result: bytes) -> None:
        """Send the result of the jobs stream's ``entry``."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append((token, entry, result))

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        group: list[tuple[Token, bytes, bytes]] = []
        size = 0
        for one in waiting:
            if group and size + len(one[2]) > MOST_BYTES:
                self._send(group)
                group, size = [], 0
            group.append(one)
            size += len(one[2])
        self._send(group)

    def _send(self, group: list[tuple[Token, bytes, bytes]]) -> None:
        entries = [entry for _, entry, _ in group]
        commands: list[Command] = [
            ("MULTI",),
            *(("XADD", self._results, "*", "r", result) for _, _, result in group),
            ("XACK", self._jobs, GROUP, *entries),
            ("XDEL", self._jobs, *entries),
            ("EXEC",),
        ]
        self._line.send(*commands).add_done_callback(partial(self._sent, group))

    def _sent(self, group: list[tuple[Token, bytes, bytes]], future: Replies) -> None:
        if future.cancelled():
            return
        error: Any = future.exception()
        if error is None:
            answer = future.result()[-1]
            error = answer if isinstance(answer, ReplyError) else next((e for e in answer if isinstance(e, ReplyError)), None)
        if error is None:
            for token, _, result in group:
                self._keep(result)
                self._taken(token)
            return
        log.warning("Redis did not take results: trying again", extra={"error": str(error), "results": len(group)})
        self._loop.call_later(RETRY, self._again, group)

    def _again(self, group: list[tuple[Token, bytes, bytes]]) -> None:
        for token, entry, result in group:
            if self._wanted(token):
                self.put(token, entry, result)
