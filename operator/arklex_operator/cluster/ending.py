"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

AGAIN = 0.5
"""Seconds after which a task that was cancelled and goes on is cancelled again."""


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel ``tasks`` until they have ended; what they raise is theirs.

    Once is not enough: ``asyncio.wait_for`` of Python 3.11, by which the Redis client sends, loses a cancellation that comes in
    the same turn of the loop as its result.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)
