"""The graphs that every peer runs. A task returns its input: the value of its first predecessor, or what the run was given.

``join`` of fan5 returns the list of its predecessors' values.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

Value = Any


@dataclass(frozen=True, slots=True)
class Shape:
    """Tasks in an order that respects ``needs``; ``last`` is the task whose value is the run's."""

    name: str
    needs: dict[str, tuple[str, ...]]
    last: str
    gathers: bool = False
    """Whether ``last`` gathers all its predecessors' values rather than pass on the first one's."""

    @property
    def is_chain(self) -> bool:
        """Whether the tasks stand in a row."""
        return all(len(needs) == min(i, 1) for i, needs in enumerate(self.needs.values()))

    def levels(self) -> list[list[str]]:
        """The tasks by distance from the start: those of one level may run at once."""
        level: dict[str, int] = {}
        found: list[list[str]] = []
        for task, needs in self.needs.items():
            level[task] = 1 + max((level[need] for need in needs), default=-1)
            if level[task] == len(found):
                found.append([])
            found[level[task]].append(task)
        return found

    def expected(self, given: Value) -> Value:
        """What the run must return for what it was given."""
        return [given] * len(self.needs[self.last]) if self.gathers else given

    def received(self, task: str, given: Value, values: dict[str, Value]) -> Value:
        """The input of ``task``, from the values of its predecessors."""
        needs = self.needs[task]
        if self.gathers and task == self.last:
            return [values[need] for need in needs]
        return values[needs[0]] if needs else given


def chain(length: int) -> Shape:
    """Tasks in a row."""
    names = [f"t{i}" for i in range(length)]
    needs = {name: tuple(names[max(0, i - 1) : i]) for i, name in enumerate(names)}
    return Shape(f"{'chain' if length < 100 else 'deep'}{length}", needs, names[-1])


def fan(width: int) -> Shape:
    """Tasks side by side, and one that joins them."""
    names = [f"t{i}" for i in range(width)]
    return Shape(f"fan{width}", {**dict.fromkeys(names, ()), "join": tuple(names)}, "join", gathers=True)


def wide(width: int) -> Shape:
    """Tasks side by side."""
    names = [f"t{i}" for i in range(width)]
    return Shape(f"wide{width}", dict.fromkeys(names, ()), names[-1])


def dag(size: int, seed: int = 500) -> Shape:
    """A random graph: each task but the first needs one to three of the forty before it. The same for the same seed."""
    pick = random.Random(seed)
    needs: dict[str, tuple[str, ...]] = {"t0": ()}
    for i in range(1, size):
        near = range(max(0, i - 40), i)
        needs[f"t{i}"] = tuple(f"t{j}" for j in sorted(pick.sample(near, min(len(near), pick.randint(1, 3)))))
    return Shape(f"dag{size}", needs, f"t{size - 1}")


def shape(name: str) -> Shape:
    """``chain5``, ``fan5``, ``wide1000``, ``deep1000``, ``dag500``: a kind and a size."""
    kind = name.rstrip("0123456789")
    size = int(name.removeprefix(kind))
    return {"chain": chain, "deep": chain, "fan": fan, "wide": wide, "dag": dag}[kind](size)
