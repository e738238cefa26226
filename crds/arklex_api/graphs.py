"""Sub-graphs that call each other: cycles and depth (semantics.md, "Kinds of task")."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from arklex_api.paths import Steps

MAX_GRAPH_DEPTH = 8
"""Graphs nested in one another, the outermost included."""

MAX_CYCLES = 20
"""Cycles that are reported."""

_SHOWN = 12

Calls: TypeAlias = Mapping[str, Sequence[tuple[Steps, str]]]
"""By graph: the field that calls, and the graph it calls."""


class Call(NamedTuple):
    """The field of a graph that names another."""

    graph: str
    steps: Steps


def sub_graph_problems(calls: Calls) -> Iterator[tuple[Call, str, str]]:
    """(where, reason, message) for each cycle, named, and for what nests too deep. Names that are unknown are left out."""
    below = {name: {child for _, child in found if child in calls} for name, found in calls.items()}
    order = _children_first(below)
    stuck = below.keys() - order.keys()
    for _ in range(MAX_CYCLES):
        if not stuck:
            break
        cycle = _cycle(below, stuck)
        shown = [*cycle, cycle[0]] if len(cycle) <= _SHOWN else [*cycle[:_SHOWN], "…", cycle[0]]
        names = " → ".join(shown)
        yield _call(calls, cycle[0], cycle[1 % len(cycle)]), "GraphCycle", f"the graphs run each other in a circle: {names}"
        others = stuck - set(cycle)
        rest = {name: below[name] & others for name in others}
        stuck = rest.keys() - _children_first(rest).keys()
    for name, chain in order.items():
        if len(chain) == MAX_GRAPH_DEPTH + 1:
            message = f"sub-graphs nest deeper than {MAX_GRAPH_DEPTH}: {' → '.join(chain)}"
            yield _call(calls, name, chain[1]), "TooDeep", message


def _children_first(below: dict[str, set[str]]) -> dict[str, list[str]]:
    """The longest chain (cut after one too many) from each graph that reaches no cycle; Kahn's algorithm."""
    above: dict[str, list[str]] = {name: [] for name in below}
    for name, children in below.items():
        for child in children:
            above[child].append(name)
    waiting = {name: len(children) for name, children in below.items()}
    ready = [name for name, count in waiting.items() if not count]
    chains: dict[str, list[str]] = {}
    for name in ready:
        longest = max((chains[child] for child in sorted(below[name])), key=len, default=[])
        chains[name] = [name, *longest][: MAX_GRAPH_DEPTH + 2]
        for parent in above[name]:
            waiting[parent] -= 1
            if not waiting[parent]:
                ready.append(parent)
    return chains


def _cycle(below: dict[str, set[str]], stuck: set[str]) -> list[str]:
    """One cycle among ``stuck``, each of which calls another of them, beginning with its first name."""
    trail: dict[str, None] = {}
    at = min(stuck)
    while at not in trail:
        trail[at] = None
        at = min(below[at] & stuck)
    names = list(trail)
    cycle = names[names.index(at) :]
    first = cycle.index(min(cycle))
    return cycle[first:] + cycle[:first]


def _call(calls: Calls, graph: str, child: str) -> Call:
    steps = next(steps for steps, called in calls[graph] if called == child)
    return Call(graph, (*steps, "graph"))
