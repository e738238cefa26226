"""LangGraph without a checkpointer: nothing survives the process.

Written for speed: no reducers; a chain has one state key that every node overwrites, other graphs one key per node; and
each node is given only the keys it reads (``input_schema``): else each of 1,000 nodes would copy 1,000 keys.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

from bench.harness import Run, main
from bench.shapes import Shape, Value

_typed_dict: Any = TypedDict


class LangGraph:
    """Graphs compiled once and invoked under a thread id of their own."""

    saver: Any = None

    async def open(self, folder: Path) -> None:
        self._runs = 0

    def prepare(self, shape: Shape) -> Run:
        graph = compiled(shape, self.saver)
        options = {"durability": "sync"} if self.saver else {}
        last = key(shape, shape.last)

        async def run(given: Value) -> Value:
            self._runs += 1
            config = {"recursion_limit": 100_000, "configurable": {"thread_id": str(self._runs)}}
            return (await graph.ainvoke({"given": given}, config, **options))[last]

        return run

    async def close(self) -> None:
        pass


def compiled(shape: Shape, saver: Any) -> Any:
    """``shape`` as a LangGraph."""
    state = _typed_dict("state", dict.fromkeys(["given", *(key(shape, task) for task in shape.needs)], Any))
    output = _typed_dict("output", {key(shape, shape.last): Any})
    builder = StateGraph(state, output_schema=output)
    for task, needs in shape.needs.items():
        reads = _typed_dict("reads", dict.fromkeys([key(shape, need) for need in needs] or ["given"], Any))
        builder.add_node(task, node_of(shape, task), input_schema=reads)
        builder.add_edge(START if not needs else needs[0] if len(needs) == 1 else list(needs), task)
    needed = {need for needs in shape.needs.values() for need in needs}
    for task in shape.needs.keys() - needed:
        builder.add_edge(task, END)
    return builder.compile(checkpointer=saver)


def key(shape: Shape, task: str) -> str:
    """The state key that holds the value of ``task``."""
    return "value" if shape.is_chain else task


def node_of(shape: Shape, task: str) -> Any:
    """A node that returns its input."""
    mine = key(shape, task)
    needs = [key(shape, need) for need in shape.needs[task]] or ["given"]
    gathers = shape.gathers and task == shape.last

    async def node(state: dict[str, Value]) -> dict[str, Value]:
        return {mine: [state[need] for need in needs] if gathers else state[needs[0]]}

    return node


if __name__ == "__main__":
    main(LangGraph())
