"""From measurements to tables: figures are medians of the rounds, ratios medians of each round's own ratio to its floor."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

PEERS = {
    "floor": "floor: asyncio, one commit a step",
    "arklex": "**arklex, SQLite NORMAL**",
    "arklex_full": "arklex, SQLite FULL",
    "langgraph": "LangGraph, not durable",
    "langgraph_sqlite": "LangGraph, SQLite, sync",
    "dbos": "DBOS, SQLite",
    "streams_floor": "floor: redis-py streams, no journal",
    "arklex_streams": "**arklex, distributed, SQLite**",
    "arklex_streams_pg": "arklex, distributed, PostgreSQL",
    "celery_redis": "Celery, Redis",
    "taskiq_redis_streams": "taskiq, Redis Streams",
}
EMBEDDED_FLOOR, STREAMS_FLOOR = "floor", "streams_floor"

Found = dict[str, dict[str, Any]]
"""What one peer measured in one round, by shape."""
Round = dict[str, Found]


@dataclass(frozen=True, slots=True)
class Measure:
    """One column: a figure of a shape, whether more of it is better, and whether its ratio is shown."""

    shape: str
    figure: str
    title: str
    more: bool = False
    ratio: bool = True
    scale: float = 1.0


MEASURES = (
    Measure("chain5", "p50_ms", "chain5 p50 ms"),
    Measure("chain5", "p99_ms", "p99 ms", ratio=False),
    Measure("chain5", "per_second", "chain5 /s at 32", more=True),
    Measure("fan5", "p50_ms", "fan5 p50 ms"),
    Measure("fan5", "p99_ms", "p99 ms", ratio=False),
    Measure("fan5", "per_second", "fan5 /s at 32", more=True),
    Measure("wide1000", "seconds", "wide1000 ms", scale=1e3),
    Measure("deep1000", "seconds", "deep1000 ms", scale=1e3),
    Measure("dag500", "seconds", "dag500 ms", scale=1e3),
)
TARGETS = (
    ("chain5 p50 ≤ 0.5 × LangGraph's without durability", MEASURES[0], "arklex", "langgraph", 0.5),
    ("chain5 throughput ≥ 40 × LangGraph durable", MEASURES[2], "arklex", "langgraph_sqlite", 40.0),
    ("wide1000 ≤ 1/10 of LangGraph durable", MEASURES[6], "arklex", "langgraph_sqlite", 0.1),
    ("deep1000 ≤ 1/20 of LangGraph durable", MEASURES[7], "arklex", "langgraph_sqlite", 0.05),
    ("distributed chain5 latency ≤ 2 × floor", MEASURES[0], "arklex_streams", STREAMS_FLOOR, 2.0),
    ("distributed chain5 throughput ≥ 1/2 of floor", MEASURES[2], "arklex_streams", STREAMS_FLOOR, 0.5),
    ("distributed fan5 latency ≤ 2 × floor", MEASURES[3], "arklex_streams", STREAMS_FLOOR, 2.0),
    ("distributed fan5 throughput ≥ 1/2 of floor", MEASURES[5], "arklex_streams", STREAMS_FLOOR, 0.5),
    ("distributed wide1000 ≤ 3 × floor", MEASURES[6], "arklex_streams", STREAMS_FLOOR, 3.0),
    ("distributed deep1000 ≤ 2 × floor", MEASURES[7], "arklex_streams", STREAMS_FLOOR, 2.0),
)


def value(found: Round, peer: str, measure: Measure) -> float | None:
    """A figure of one round, in the unit of its column."""
    figure = found.get(peer, {}).get(measure.shape, {}).get(measure.figure)
    return None if figure is None else figure * measure.scale


def figure(rounds: Sequence[Round], peer: str, measure: Measure) -> float | None:
    """Its median."""
    values = [one for found in rounds if (one := value(found, peer, measure)) is not None]
    return statistics.median(values) if values else None


def ratio(rounds: Sequence[Round], peer: str, base: str, measure: Measure) -> float | None:
    """The median of each round's ``peer`` / ``base``."""
    pairs = [(value(found, peer, measure), value(found, base, measure)) for found in rounds]
    ratios = [ours / theirs for ours, theirs in pairs if ours is not None and theirs]
    return statistics.median(ratios) if ratios else None


def floor_of(peer: str) -> str:
    """What the peer is compared with."""
    return STREAMS_FLOOR if list(PEERS).index(peer) >= list(PEERS).index(STREAMS_FLOOR) else EMBEDDED_FLOOR


def table(rounds: Sequence[Round]) -> list[str]:
    """A row for each peer: figures, and in brackets the ratio to its floor."""
    return rows(
        ["", *(m.title for m in MEASURES)], [[PEERS[p], *(_cell(rounds, p, m) for m in MEASURES)] for p in _peers(rounds)]
    )


def _peers(rounds: Sequence[Round]) -> list[str]:
    return [peer for peer in PEERS if any(found.get(peer) for found in rounds)]


def _cell(rounds: Sequence[Round], peer: str, measure: Measure) -> str:
    found, floor = figure(rounds, peer, measure), floor_of(peer)
    if found is None:
        return "–"
    times = ratio(rounds, peer, floor, measure) if measure.ratio and peer != floor else None
    return short(found) + (f" ({short(times)}×)" if times is not None else "")


def processor(rounds: Sequence[Round]) -> list[str]:
    """Where the processor time of a run goes among 32, of the peers that are several processes."""
    names = ("client", "worker", "Redis", "PostgreSQL")
    found = [
        [PEERS[peer], shape, *cells]
        for peer in _peers(rounds)
        if floor_of(peer) == STREAMS_FLOOR
        for shape in ("chain5", "fan5")
        if any(cells := [_used(rounds, peer, shape, name) for name in names])
    ]
    return rows(["µs of processor time a run, 32 at once", "graph", "runtime or client", *names[1:]], found)


def _used(rounds: Sequence[Round], peer: str, shape: str, name: str) -> str:
    values = [used[name] for found in rounds if name in (used := found.get(peer, {}).get(shape, {}).get("processor_us", {}))]
    return short(statistics.median(values)) if values else ""


def rows(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """A table of Markdown, all but its first column to the right."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *body]
    return [f"| {' | '.join(line)} |" for line in lines]


def short(number: float) -> str:
    """Two or three digits that matter."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def targets(rounds: Sequence[Round]) -> Iterator[str]:
    """What this project set itself, and what came out."""
    found = []
    for words, measure, own, peer, bound in TARGETS:
        times, ours, theirs = ratio(rounds, own, peer, measure), figure(rounds, own, measure), figure(rounds, peer, measure)
        if times is not None and ours is not None and theirs is not None:
            met = times >= bound if measure.more else times <= bound
            found.append([words, f"{short(ours)} against {short(theirs)}: {times:.3g} ×", "met" if met else "**missed**"])
    yield from rows(["target", "found", ""], found)
