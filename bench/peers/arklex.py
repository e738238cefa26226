"""arklex, embedded: each task's start and result are journaled, and dependents start only after the result is committed.

SQLite in WAL mode, synchronous NORMAL. Each task's input is a CEL expression over its predecessor's output.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from arklex_api.taskgraph import TaskGraph
from arklex_runtime.orchestrator import Orchestrator
from arklex_runtime.orchestrator.sources import program_of, python_worker
from bench.harness import Run, main
from bench.shapes import Shape, Value


async def node(inputs: dict[str, Value]) -> Value:
    """A task that returns its input."""
    return inputs["value"]


class Arklex:
    """The Python API: one Orchestrator, graphs compiled once."""

    synchronous = "NORMAL"

    async def open(self, folder: Path) -> None:
        self._orchestrator = Orchestrator(db=f"sqlite:///{folder}/arklex.db?synchronous={self.synchronous}")
        self._orchestrator.add_worker("echo", node)

    def prepare(self, shape: Shape) -> Run:
        program = program_of(TaskGraph.model_validate(manifest(shape)), {"echo": python_worker("echo", concurrency=1000)})

        async def run(given: Value) -> Value:
            return (await self._orchestrator.arun(program, given, check=True)).output

        return run

    async def close(self) -> None:
        await self._orchestrator.aclose()


def manifest(shape: Shape) -> dict[str, Any]:
    """``shape`` as a TaskGraph."""
    return {
        "apiVersion": "arklex.ai/v1alpha1",
        "kind": "TaskGraph",
        "metadata": {"name": shape.name},
        "spec": {
            "maxParallel": 1000,
            "tasks": [task(shape, name) for name in shape.needs],
            "output": f"${{tasks.{shape.last}.output}}",
        },
    }


def task(shape: Shape, name: str) -> dict[str, Any]:
    """One task; needs beyond the one it reads become dependsOn."""
    needs = shape.needs[name]
    read = [f"${{tasks.{need}.output}}" for need in needs] or ["${query}"]
    gathers = shape.gathers and name == shape.last
    more = {} if gathers or len(needs) < 2 else {"dependsOn": list(needs[1:])}
    return {"name": name, "worker": "echo", "with": {"value": read if gathers else read[0]}, **more}


if __name__ == "__main__":
    main(Arklex())
