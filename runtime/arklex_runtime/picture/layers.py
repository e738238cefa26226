"""From a diagram's band to layers of slots: long levels folded into rows, long edges led through dummy slots.

Edges that leave the same task (or reach the same one) share their dummies, so that a fan of a thousand is one trunk.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, sqrt

from arklex_runtime.picture.model import Edge, EdgeKind, Node

_Trunk = tuple[str, str, EdgeKind]
"""Edges that run as one: "from" or "to", the task they share, their kind."""


@dataclass(slots=True, eq=False)
class Slot:
    """A place in a layer: a node's, or (``node`` None) a point that edges pass through. ``at`` is the centre, across.

    ``carries`` names, for a trunk, all tasks that its task is joined to by edges of its kind.
    """

    layer: int
    rank: int
    node: Node | None = None
    before: list[Slot] = field(default_factory=list)
    after: list[Slot] = field(default_factory=list)
    size: float = 0.0
    at: float = 0.0
    order: int = 0
    carries: frozenset[str] = frozenset()


@dataclass(slots=True)
class Layers:
    """Slots by layer, and the slots that each edge runs through, its two ends included."""

    rows: list[list[Slot]]
    chains: list[tuple[Edge, list[Slot]]]


def build_layers(nodes: Sequence[Node], edges: Sequence[Edge]) -> Layers:
    """Layers of a band. Levels with more nodes than ``row_capacity`` are folded into several layers."""
    slots: dict[str, Slot] = {}
    rows: list[list[Slot]] = []
    capacity = row_capacity(len(nodes))
    for level in _levels(nodes, edges, capacity):
        for row in _fold(level, capacity, edges):
            rows.append([])
            for node in row:
                slots[node.name] = _add(rows, len(rows) - 1, node)
    return Layers(rows, _chains(rows, slots, edges))


def row_capacity(count: int) -> int:
    """How many of ``count`` nodes stand side by side: about as many columns as make the whole twice as wide as high."""
    return max(6, min(24, ceil(0.9 * sqrt(count))))


def _levels(nodes: Sequence[Node], edges: Sequence[Edge], capacity: int) -> list[list[Node]]:
    """Nodes by level. Where a level is too wide, tasks that are needed only later are drawn just above those that need them."""
    level = {node.name: node.level for node in nodes}
    after: dict[str, list[str]] = defaultdict(list)
    waiting = dict.fromkeys(level, 0)
    for edge in edges:
        after[edge.source].append(edge.target)
        waiting[edge.target] += 1
    needs = dict(waiting)
    ready = [name for name, count in waiting.items() if count == 0]
    for name in ready:
        for target in after[name]:
            level[target] = max(level[target], level[name] + 1)
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    if len(ready) < len(level):
        raise ValueError(f"the graph has a cycle through {min(name for name, count in waiting.items() if count)}")
    if max(Counter(level.values()).values(), default=0) > capacity:
        for name in reversed(ready):
            if len(after[name]) > needs[name]:
                level[name] = min(level[target] for target in after[name]) - 1
    grouped: dict[int, list[Node]] = defaultdict(list)
    for node in nodes:
        grouped[level[node.name]].append(node)
    return [grouped[key] for key in sorted(grouped)]


def _fold(level: list[Node], capacity: int, edges: Sequence[Edge]) -> Iterable[list[Node]]:
    if len(level) <= capacity:
        return [level]
    balance: dict[str, int] = defaultdict(int)
    for edge in edges:
        balance[edge.source] += 1
        balance[edge.target] -= 1
    level = sorted(level, key=lambda node: (balance[node.name] > 0) - (balance[node.name] < 0))
    rows = ceil(len(level) / capacity)
    starts = [index * len(level) // rows for index in range(rows + 1)]
    return [level[start:end] for start, end in pairwise(starts)]


def _add(rows: list[list[Slot]], layer: int, node: Node | None) -> Slot:
    slot = Slot(layer, len(rows[layer]), node)
    rows[layer].append(slot)
    return slot


def _chains(rows: list[list[Slot]], slots: dict[str, Slot], edges: Sequence[Edge]) -> list[tuple[Edge, list[Slot]]]:
    ends: dict[_Trunk, set[str]] = defaultdict(set)
    for edge in edges:
        ends["from", edge.source, edge.kind].add(edge.target)
        ends["to", edge.target, edge.kind].add(edge.source)
    carried = {trunk: frozenset(names) for trunk, names in ends.items()}
    places: dict[tuple[_Trunk, int], Slot] = {}
    joined: set[tuple[int, int]] = set()
    chains: list[tuple[Edge, list[Slot]]] = []
    for edge in edges:
        first, last = slots[edge.source], slots[edge.target]
        trunk = max(("from", edge.source, edge.kind), ("to", edge.target, edge.kind), key=lambda trunk: len(carried[trunk]))
        chain = [first]
        for layer in range(first.layer + 1, last.layer):
            if (trunk, layer) not in places:
                places[trunk, layer] = _add(rows, layer, None)
                places[trunk, layer].carries = carried[trunk]
            chain.append(places[trunk, layer])
        chain.append(last)
        _join(chain, joined)
        chains.append((edge, chain))
    return chains


def _join(chain: list[Slot], joined: set[tuple[int, int]]) -> None:
    for upper, lower in pairwise(chain):
        if (id(upper), id(lower)) not in joined:
            joined.add((id(upper), id(lower)))
            upper.after.append(lower)
            lower.before.append(upper)
