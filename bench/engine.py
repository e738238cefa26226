"""What the engine alone costs: no journal, no dispatcher, no clock. One line of Markdown for each shape.

``bench/engine.py [--sizes 1000,10000]``. The targets: 10 to 15 µs for a step of a chain (its Started and Finished), and time
per task of 10,000 within 1.5 times that of 1,000, whatever the shape. CPU seconds, the best of several runs.
"""

from __future__ import annotations

import argparse
import gc
import random
import time
import tracemalloc
from collections import deque
from collections.abc import Callable
from typing import Any

from arklex_api.taskgraph import TaskGraph
from arklex_api.worker import Worker
from arklex_runtime.engine.commands import CancelAttempt, Command, Start
from arklex_runtime.engine.document import run_document
from arklex_runtime.engine.events import Accepted, CancelRequested, Finished, Started
from arklex_runtime.engine.program import Program
from arklex_runtime.engine.state import RunState
from arklex_runtime.engine.step import replay, start, step, write_batch

Tasks = list[dict[str, Any]]
OUTPUT = {"n": 1}


def chain(size: int) -> dict[str, Any]:
    """Each task reads the one before it."""
    tasks: Tasks = [{"name": "t0", "worker": "w"}]
    tasks += [{"name": f"t{i}", "worker": "w", "with": {"n": f"${{tasks.t{i - 1}.output.n}}"}} for i in range(1, size)]
    return {"tasks": tasks, "output": f"${{tasks.t{size - 1}.output}}"}


def fan(size: int) -> dict[str, Any]:
    """One, then all that read it, then one that waits for all."""
    tasks: Tasks = [{"name": "a", "worker": "w"}]
    tasks += [{"name": f"t{i}", "worker": "w", "with": "${tasks.a.output.n}"} for i in range(size - 2)]
    return {"tasks": [*tasks, {"name": "z", "worker": "w", "dependsOn": [f"t{i}" for i in range(min(size - 2, 1000))]}]}


def dag(size: int) -> dict[str, Any]:
    """Each task reads up to three before it."""
    chance, tasks = random.Random(1), list[dict[str, Any]]()
    for i in range(size):
        sources = sorted({chance.randrange(max(0, i - 50), i) for _ in range(3)}) if i else []
        tasks.append({"name": f"t{i}", "worker": "w", "with": [f"${{tasks.t{source}.output.n}}" for source in sources]})
    return {"tasks": tasks}


def items(size: int) -> dict[str, Any]:
    """One task with that many items."""
    return {"tasks": [{"name": "a", "worker": "w", "with": "${item}", "forEach": {"items": list(range(size))}}]}


def fallbacks(size: int) -> dict[str, Any]:
    """Tasks that share a fallback task."""
    return {
        "tasks": [
            {"name": "f", "value": 1},
            *({"name": f"t{i}", "worker": "w", "fallback": {"task": "f"}} for i in range(size - 1)),
        ]
    }


def guards(size: int) -> dict[str, Any]:
    """A value over all tasks' phases, each by name."""
    tasks: Tasks = [{"name": f"t{i}", "value": i} for i in range(size - 1)]
    return {"tasks": [*tasks, {"name": "z", "value": [f"${{tasks.t{i}.phase}}" for i in range(min(size - 1, 1000))]}]}


SHAPES: dict[str, Callable[[int], dict[str, Any]]] = {
    "chain": chain, "fan": fan, "dag": dag, "items": items, "fallbacks": fallbacks, "guards": guards,
}  # fmt: skip


def compiled(spec: dict[str, Any]) -> Program:
    """The program of one graph."""
    head = {"apiVersion": "arklex.ai/v1alpha1", "metadata": {"name": "main"}}
    worker = {**head, "kind": "Worker", "metadata": {"name": "w"}, "spec": {"type": "custom", "config": {"handler": "m:f"}}}
    graph = TaskGraph.model_validate({**head, "kind": "TaskGraph", "spec": spec})
    return Program.of("main", {"main": graph}, {"w": Worker.model_validate(worker)})


def run(program: Program, journal: list[bytes] | None = None) -> RunState:
    """A whole run in which every attempt succeeds at once, first in first out."""
    state, at = RunState(), 1e9
    asked: deque[Command] = deque()

    def feed(event: Accepted | Finished) -> None:
        turn = step(program, state, event)
        asked.extend(turn.commands)
        if journal is not None:
            journal.append(write_batch([(event.encode(), turn.facts)]))

    feed(Accepted(at, "r", "", None, {}, {}))
    while asked:
        command = asked.popleft()
        if type(command) is not Start:
            continue
        started = Started(at, command.unit.key, command.attempt)
        start(state, started)
        if journal is not None:
            journal.append(write_batch([(started.encode(), {})]))
        feed(Finished(at, command.unit.key, command.attempt, OUTPUT, None, 7))
    if state.phase != "Succeeded":
        raise SystemExit(f"the run ended {state.phase}")
    return state


def halted(program: Program) -> None:
    """A run that is cancelled as soon as its first attempts run."""
    state, at = RunState(), 1e9
    for command in step(program, state, Accepted(at, "r", "", None, {}, {})).commands:
        if isinstance(command, Start):
            start(state, Started(at, command.unit.key, command.attempt))
    commands = step(program, state, CancelRequested(at)).commands
    if state.phase != "Cancelled" or not any(isinstance(command, CancelAttempt) for command in commands):
        raise SystemExit("the cancel went wrong")


def seconds(call: Callable[[], object], times: int) -> float:
    """CPU seconds of the best of ``times`` calls."""
    found = []
    for _ in range(times):
        gc.collect()
        before = time.process_time()
        call()
        found.append(time.process_time() - before)
    return min(found)


def memory(program: Program) -> int:
    """Bytes that a finished run's state holds."""
    tracemalloc.start()
    state = run(program)
    found = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del state
    return found


def measure(name: str, size: int) -> list[float]:
    """µs per task: compile, run, replay, document, cancel; bytes per task."""
    spec = SHAPES[name](size)
    times = max(3, 30_000 // size)
    compile_time = seconds(lambda: compiled(spec), 1)
    program = compiled(spec)
    journal: list[bytes] = []
    state = run(program, journal)
    found = [
        compile_time,
        seconds(lambda: run(program), times),
        seconds(lambda: replay(program, journal), times),
        seconds(lambda: run_document(state, "main"), times),
        seconds(lambda: halted(program), times) if name != "guards" else 0.0,
    ]
    return [*(value / size * 1e6 for value in found), memory(program) / size]


def main() -> None:
    """Print a line for each shape and size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=lambda text: [int(word) for word in text.split(",")], default=[1000, 10_000])
    parser.add_argument("--shapes", type=lambda text: text.split(","), default=list(SHAPES))
    options = parser.parse_args()
    print("µs and bytes per task\n")
    print("| graph | compile | run | ratio | replay | document | cancel | bytes |\n|---|--:|--:|--:|--:|--:|--:|--:|")
    for name in options.shapes:
        first = 0.0
        for size in options.sizes:
            compile_time, step_time, replay_time, document, cancel, size_of = measure(name, size)
            first = first or step_time
            print(
                f"| {name} {size:,} | {compile_time:.0f} | {step_time:.1f} | {step_time / first:.2f} | {replay_time:.1f} "
                f"| {document:.1f} | {cancel:.1f} | {size_of:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
