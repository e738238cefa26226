"""Five graphs of different shape and the handlers that run them; outputs depend on inputs alone, never on attempts."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

from arklex_api.base import API_VERSION
from arklex_api.loader import Manifests
from arklex_api.taskgraph import TaskGraph
from arklex_api.worker import Worker
from arklex_runtime.engine.program import Program
from arklex_runtime.errors import TaskError
from arklex_runtime.orchestrator.orchestrator import as_worker
from arklex_runtime.orchestrator.sources import program_of, python_worker
from arklex_runtime.workers.base import TaskContext, TaskWorker
from tests.faults.ledger import BEGIN, END, Ledger
from tests.faults.points import AFTER, BEFORE, Faults

SOON = {"initial": "1ms", "max": "2ms"}


def step(name: str, worker: str = "work", /, **fields: Any) -> dict[str, Any]:
    """A task on a worker; its inputs are called ``given`` here, since ``with`` is a word of Python's."""
    return {"name": name, "worker": worker, "with": fields.pop("given", {}), **fields}


def chain() -> dict[str, Any]:
    tasks = [step("t0", given={"x": "${input.x}"})]
    for i in range(1, 6):
        tasks.append(step(f"t{i}", "thread" if i % 2 else "work", given={"x": f"${{tasks.t{i - 1}.output}}"}))
    return {"tasks": tasks, "output": "${tasks.t5.output}"}


def fan() -> dict[str, Any]:
    middle = [step(f"w{i}", "thread" if i % 3 == 0 else "work", given={"x": "${tasks.src.output}", "i": i}) for i in range(6)]
    join = step("join", given={"all": [f"${{tasks.w{i}.output}}" for i in range(6)]})
    first = step("src", given={"x": "${input.x}"})
    return {"maxParallel": 4, "tasks": [first, *middle, join], "output": "${tasks.join.output}"}


def each() -> dict[str, Any]:
    retry = {"limit": 2, "backoff": SOON}
    items = step(
        "item",
        "flaky",
        forEach={"items": "${tasks.list.output}", "maxParallel": 2},
        retry=retry,
        given={"x": "${item}", "i": "${index}"},
    )
    quick = step("quick", forEach={"items": "${tasks.list.output}", "as": "one"}, given={"x": "${one}"})
    return {
        "tasks": [
            {"name": "list", "value": [1, 2, 3, 4, 5]},
            items,
            quick,
            step("join", "thread", given={"a": "${tasks.item.output}", "b": "${tasks.quick.output}"}),
        ],
        "output": ["${tasks.join.output}", "${tasks.item.output}"],
    }


def nested() -> dict[str, Any]:
    kept: dict[str, Any] = {"cache": {"ttl": "1h"}, "given": {"x": "same"}}
    return {
        "tasks": [
            step("first", **kept, saveState={"last": "${tasks.first.output}", "total": {"$increment": 1}}),
            {
                "name": "sub",
                "graph": "inner",
                "forEach": {"items": [1, 2]},
                "with": {"n": "${item}", "x": "${tasks.first.output}"},
            },
            step("again", **kept, dependsOn=["sub"], saveState={"total": {"$increment": 1}}),
            step("reader", dependsOn=["again"], given={"last": "${session.last}"}),
        ],
        "output": {"sub": "${tasks.sub.output}", "reader": "${tasks.reader.output}"},
    }


def inner() -> dict[str, Any]:
    return {
        "tasks": [
            step("a", "flaky", retry={"limit": 1, "backoff": SOON}, given={"x": "${input.x}", "i": "${input.n}"}),
            step("b", "thread", saveState={"total": {"$increment": 1}}, given={"x": "${tasks.a.output}"}),
        ],
        "finally": [step("tidy", dependsOn=[], given={"phase": "${run.phase}"})],
        "output": "${tasks.b.output}",
    }


def approval() -> dict[str, Any]:
    broken: dict[str, Any] = {"retry": {"limit": 1, "backoff": SOON}, "given": {"x": "${tasks.draft.output}"}}
    return {
        "onFailure": "continue",
        "tasks": [
            step("draft", given={"x": "${input.x}"}),
            {"name": "check", "approval": {"message": "Send ${tasks.draft.output}?"}},
            step("valued", "broken", dependsOn=["check"], fallback={"value": {"instead": "${tasks.draft.output}"}}, **broken),
            step("worked", "broken", dependsOn=["check"], fallback={"worker": "work"}, **broken),
            step("tasked", "broken", fallback={"task": "spare"}, **broken),
            step("spare", given={"x": "${tasks.draft.output}"}),
            step("allowed", "broken", onError="continue", **broken),
            step("never", when="${tasks.check.output.approved == false}", given={"x": "${tasks.valued.output}"}),
            step(
                "send",
                "thread",
                given={"v": "${tasks.valued.output}", "w": "${tasks.worked.output}"},
                dependsOn=["allowed"],
            ),
        ],
        "finally": [
            step("audit", given={"phase": "${run.phase}", "failed": "${run.failed}"}),
            step("close", "thread", given={"x": "${tasks.audit.output}"}),
        ],
        "output": ["${tasks.send.output}", "${tasks.tasked.output}"],
    }


GRAPHS: dict[str, Callable[[], dict[str, Any]]] = {
    "chain": chain,
    "fan": fan,
    "each": each,
    "nested": nested,
    "approval": approval,
}
SESSION = {"nested": {"total": 4}}
"""What one run adds to numbers of its session."""


def workers() -> dict[str, Worker]:
    """The Worker objects; three slots, so that graphs wait for some."""
    found = {name: python_worker(name) for name in ("work", "thread", "flaky", "broken")}
    return {name: w.model_copy(update={"spec": w.spec.model_copy(update={"concurrency": 3})}) for name, w in found.items()}


def program(name: str) -> Program:
    """The graph called ``name``, compiled with all it needs."""
    parsed = {key: _graph(key, spec()) for key, spec in (*GRAPHS.items(), ("inner", inner))}
    return program_of(Manifests(graphs=parsed), workers(), graph=name)


def _graph(name: str, spec: dict[str, Any]) -> TaskGraph:
    body = {"apiVersion": API_VERSION, "kind": "TaskGraph", "metadata": {"name": name}, "spec": spec}
    return TaskGraph.model_validate(body)


def digest(task: str, inputs: Any) -> str:
    """An output that only these inputs give."""
    return hashlib.sha256(json.dumps([task.partition("@")[0], inputs], sort_keys=True).encode()).hexdigest()[:12]


class Handlers:
    """The handlers of one victim: each writes its effects into the ledger and passes boundaries of its own."""

    def __init__(self, ledger: Ledger, faults: Faults, pace: float) -> None:
        self._pace = pace
        self._ledger = ledger
        self._faults = faults

    def given(self) -> dict[str, TaskWorker]:
        """The handlers as workers, by the names that the graphs use."""
        every = {"work": self.work, "thread": self.thread, "flaky": self.flaky, "broken": self.broken}
        return {name: as_worker(handler, name) for name, handler in every.items()}

    async def work(self, inputs: Any, context: TaskContext) -> Any:
        self._begin(context)
        await asyncio.sleep(self._pace)
        return self._end(inputs, context)

    def thread(self, inputs: Any, context: TaskContext) -> Any:
        self._begin(context)
        time.sleep(self._pace)
        return self._end(inputs, context)

    async def flaky(self, inputs: Any, context: TaskContext) -> Any:
        self._begin(context)
        if context.attempt == 1 and inputs["i"] % 2:
            self._fail(context)
        return self._end(inputs, context)

    async def broken(self, inputs: Any, context: TaskContext) -> Any:
        self._begin(context)
        self._fail(context)

    def _begin(self, context: TaskContext) -> None:
        self._faults.reach("effect.begin", BEFORE)
        self._ledger.effect(BEGIN, context)
        self._faults.reach("effect.begin", AFTER)

    def _end(self, inputs: Any, context: TaskContext) -> Any:
        self._faults.reach("effect.end", BEFORE)
        self._ledger.effect(END, context)
        self._faults.reach("effect.end", AFTER)
        return digest(context.task_name, inputs)

    def _fail(self, context: TaskContext) -> None:
        self._ledger.effect(END, context, ok=False)
        self._faults.reach("effect.error", AFTER)
        raise TaskError("Unavailable", "not today")
