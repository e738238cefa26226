"""Handlers of the pods that tests start; what they do is said by the task's action, what they did is in the ledger."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from typing import Any

from arklex_runtime.errors import TaskError
from arklex_runtime.workers.base import TaskContext
from tests.faults.ledger import BEGIN, END, Ledger

_ledger = Ledger(os.environ["ARKLEX_TEST_LEDGER"])


async def work(inputs: Any, context: TaskContext) -> Any:
    """An async handler."""
    _ledger.effect(BEGIN, context)
    if context.action == "sleep":
        await asyncio.sleep(inputs["seconds"])
    if context.action == "tools" and context.tools is not None:
        for number in range(inputs["calls"]):
            await context.tools.call("tickets", {"n": number}, context)
    output = _act(inputs, context)
    _ledger.effect(END, context)
    return output


def block(inputs: Any, context: TaskContext) -> Any:
    """A sync handler."""
    _ledger.effect(BEGIN, context)
    if context.action == "sleep":
        time.sleep(inputs["seconds"])
    output = _act(inputs, context)
    _ledger.effect(END, context)
    return output


def _act(inputs: Any, context: TaskContext) -> Any:
    if context.action == "exit":
        os._exit(7)
    if context.action == "exit-once" and context.attempt == 1:
        os._exit(7)
    if context.action == "fail":
        _ledger.effect(END, context, ok=False)
        raise TaskError("Unavailable", f"not today, {inputs.get('secret', '')}")
    if context.action == "big":
        return "x" * inputs["size"]
    if context.action == "log":
        print("printed", inputs["text"])
        print("warned", inputs["text"], file=sys.stderr)
        context.logger.warning("logged %s", inputs["text"], extra={"place": "here"})
        logging.getLogger("elsewhere").error("other %s", inputs["text"])
    if context.action == "who":
        return {"attempt": context.attempt, "key": context.idempotency_key, "left": context.time_left(), "pid": os.getpid()}
    return inputs
