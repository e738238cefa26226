"""Handlers for tests in pods; mounted from a ConfigMap, so this file imports nothing of the tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
import urllib.request
from typing import Any

from arklex_runtime import MemoryMonitor, TaskContext


def ledger(kind: str, context: TaskContext, ok: bool = True) -> None:
    """Tell the test's ledger, where there is one; the handler goes on once it is written down."""
    url = os.environ.get("LEDGER")
    if not url:
        return
    key = context.idempotency_key
    line = [kind, context.run_id, context.task_name, context.attempt, key, ok, os.environ["POD_NAME"]]
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(line).encode()), timeout=30):
        pass


async def handle(inputs: dict[str, Any] | None, context: TaskContext) -> Any:
    """``echo`` gives its inputs, ``sleep`` after ``ms``, ``fail`` raises, ``effect`` writes to the ledger around a sleep.

    An effect that is to ``devour`` takes all the memory there is at its first attempt; one that is ``held`` ends when the test
    says so.
    ``fill`` takes memory up to a ``share`` of the limit, and keeps it until it is cancelled.
    """
    given = inputs or {}
    context.logger.info("begins %s", context.action)
    if context.action == "fail":
        raise RuntimeError(str(given.get("message", "as asked")))
    if context.action == "exit":
        os._exit(3)
    if context.action == "environment":
        return {"pod": os.environ["POD_NAME"], "node": os.environ["NODE_NAME"], "uid": os.getuid()}
    if context.action == "effect":
        await asyncio.to_thread(ledger, "begin", context)
        if given.get("devour") and context.attempt == 1:
            await asyncio.to_thread(_devour)
        if given.get("held"):
            await asyncio.to_thread(_until_free)
        await asyncio.sleep(given.get("ms", 0) / 1000)
        await asyncio.to_thread(ledger, "end", context)
        return {"task": context.task_name, "attempt": context.attempt}
    if context.action == "spin":
        await asyncio.to_thread(_spin, given["ms"] / 1000)
        return {"spun": given["ms"]}
    if context.action == "fill":
        await _fill(given["share"])
    await asyncio.sleep(given.get("ms", 0) / 1000)
    return {key: value for key, value in given.items() if key != "ms"}


def _until_free() -> None:
    """Wait until the test lets go of effects that are held: its ledger answers after a second at most, yes or no."""
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(os.environ["LEDGER"], timeout=30):
            return
        time.sleep(0.1)


async def _fill(share: float) -> None:
    monitor, held = MemoryMonitor(), []
    while monitor.get_memory_usage() < share:
        held.append(b"x" * (8 << 20))
        await asyncio.sleep(0)
    await asyncio.Event().wait()


def _devour() -> None:
    """Take memory until the kernel ends the process."""
    taken = []
    while True:
        taken.append(bytearray(os.urandom(1 << 20)) * 16)


def _spin(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(1000))
