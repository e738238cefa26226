"""What a picture shows, without coordinates: nodes, edges and, when a run is drawn, how each task fares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NodeKind = Literal["worker", "llm", "custom", "rag", "database", "browser", "tool", "graph", "approval", "value"]
EdgeKind = Literal["data", "order", "fallback"]
BandName = Literal["tasks", "finally"]
BadgeKind = Literal["forEach", "when", "retry", "cache", "fallback", "timeout", "continue", "saveState", "attempts", "cached"]


@dataclass(frozen=True, slots=True)
class Badge:
    """A small pill on a node: ``label`` is shown (a few characters), ``detail`` is its tooltip."""

    kind: BadgeKind
    label: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class NodeState:
    """How a task fares in a run: its phase, attempts started, and how long it took or has taken (seconds)."""

    phase: str
    attempts: int = 0
    seconds: float | None = None
    cached: bool = False
    fallback: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """One task. ``level`` is the length of the longest path to it; ``detail`` says who does it."""

    name: str
    kind: NodeKind
    level: int = 0
    detail: str = ""
    badges: tuple[Badge, ...] = ()
    band: BandName = "tasks"
    state: NodeState | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """``target`` waits for ``source``: for its output (data), only for its end (order), or for its failure (fallback)."""

    source: str
    target: str
    kind: EdgeKind = "data"


@dataclass(frozen=True, slots=True)
class Diagram:
    """A graph to draw. Names are unique; every edge joins two nodes of the same band and goes to a higher level.

    ``phase`` is the run's, when a run is drawn.
    """

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...] = ()
    subtitle: str = ""
    phase: str | None = None
