"""Measure arklex and its peers in one go, one process each, one after the other: ``bench/run.py [--rounds 3] [--peers a,b]``.

Prints the tables and writes bench/results.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
PEERS = {
    "floor": "floor: asyncio, one commit a step",
    "arklex": "arklex, SQLite NORMAL",
    "arklex_full": "arklex, SQLite FULL",
    "langgraph": "LangGraph, not durable",
    "langgraph_sqlite": "LangGraph, SQLite, sync",
    "dbos": "DBOS, SQLite",
    "streams_floor": "floor: redis-py streams, no journal",
    "arklex_streams": "arklex, distributed, SQLite NORMAL",
}
SHAPES = ("chain5", "fan5", "wide1000", "deep1000", "dag500")
RATIO_TO = "langgraph_sqlite"
CEILING = 120.0
"""Seconds after which a peer counts as hung."""

Found = dict[str, dict[str, float]]


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
    ("chain5 p50 ≤ 0.5 × LangGraph's without durability", MEASURES[0], "langgraph", 0.5),
    ("chain5 throughput ≥ 40 × LangGraph durable", MEASURES[2], "langgraph_sqlite", 40.0),
    ("wide1000 ≤ 1/10 of LangGraph durable", MEASURES[6], "langgraph_sqlite", 0.1),
    ("deep1000 ≤ 1/20 of LangGraph durable", MEASURES[7], "langgraph_sqlite", 0.05),
)
DISTRIBUTED = ("streams_floor", "arklex_streams")
"""Peers that need redis-server and redis-py; measured where both are there."""
DISTRIBUTED_TARGETS = (
    ("distributed chain5 latency ≤ 2 × floor", MEASURES[0], "streams_floor", 2.0),
    ("distributed chain5 throughput ≥ 1/2 of floor", MEASURES[2], "streams_floor", 0.5),
    ("distributed fan5 latency ≤ 2 × floor", MEASURES[3], "streams_floor", 2.0),
    ("distributed fan5 throughput ≥ 1/2 of floor", MEASURES[5], "streams_floor", 0.5),
    ("distributed wide1000 ≤ 3 × floor", MEASURES[6], "streams_floor", 3.0),
    ("distributed deep1000 ≤ 2 × floor", MEASURES[7], "streams_floor", 2.0),
)


def measure(peer: str, options: argparse.Namespace, folder: str) -> Found:
    """One peer in a process of its own; what it measured before it failed, if it does."""
    command = [sys.executable, "-m", f"bench.peers.{peer}", "--shapes", ",".join(options.shapes)]
    command += ["--seconds", str(options.seconds), "--folder", folder]
    try:
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=CEILING, check=False)
        output, failure = ended.stdout, f"exit code {ended.returncode}: {ended.stderr[-800:]}" if ended.returncode else ""
    except subprocess.TimeoutExpired as expired:
        output, failure = (expired.stdout or b"").decode(), f"still running after {CEILING:.0f} s"
    if failure:
        print(f"{peer}: {failure}", file=sys.stderr)
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return {line.pop("shape"): line for line in lines}


def best(one: Found, other: Found) -> Found:
    """The better of each figure: what else ran on the machine only ever makes one worse."""
    merged = {shape: dict(figures) for shape, figures in one.items()}
    for shape, figures in other.items():
        mine = merged.setdefault(shape, figures)
        for name, figure in figures.items():
            pick = max if name in ("per_second", "peak_mib", "runs") else min
            mine[name] = pick(figure, mine.get(name, figure))
    return merged


def value(found: dict[str, Found], peer: str, measure: Measure) -> float | None:
    """A figure, in the unit of its column."""
    figure = found.get(peer, {}).get(measure.shape, {}).get(measure.figure)
    return None if figure is None else figure * measure.scale


def times_better(measure: Measure, ours: float, theirs: float) -> float:
    """How many times ``ours`` is better than ``theirs``."""
    return ours / theirs if measure.more else theirs / ours


def table(found: dict[str, Found]) -> Table:
    """A row for each peer: figures, and in brackets how many times better than LangGraph durable."""
    made = Table("", *(m.title for m in MEASURES), box=MARKDOWN)
    for column in made.columns[1:]:
        column.justify = "right"
    for peer in found:
        made.add_row(PEERS[peer], *(_cell(found, peer, m) for m in MEASURES))
    return made


def _cell(found: dict[str, Found], peer: str, measure: Measure) -> str:
    figure, base = value(found, peer, measure), value(found, RATIO_TO, measure)
    if figure is None:
        return "–"
    ratio = f" ({short(times_better(measure, figure, base))}×)" if base and measure.ratio and peer != RATIO_TO else ""
    return short(figure) + ratio


def short(figure: float) -> str:
    """Two or three digits that matter."""
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.1f}" if figure >= 10 else f"{figure:.2f}"


def targets(found: dict[str, Found]) -> Iterator[str]:
    """What this project set itself, and what came out."""
    pairs = [("arklex", *target) for target in TARGETS] + [("arklex_streams", *target) for target in DISTRIBUTED_TARGETS]
    for own, words, measure, peer, bound in pairs:
        ours, theirs = value(found, own, measure), value(found, peer, measure)
        if ours and theirs:
            ratio = ours / theirs
            met = ratio >= bound if measure.more else ratio <= bound
            yield f"{'met   ' if met else 'MISSED'} {words}: {short(ours)} against {short(theirs)}, {ratio:.3g} ×"


def available() -> list[str]:
    """The peers that can be measured here."""
    distributed = find_spec("redis") is not None and shutil.which("redis-server") is not None
    return [peer for peer in PEERS if distributed or peer not in DISTRIBUTED]


def machine() -> dict[str, Any]:
    """Where it ran."""
    packages = ("langgraph", "langgraph-checkpoint-sqlite", "dbos", "uvloop")
    return {
        "machine": f"{os.cpu_count()} × {processor()}, {platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }


def processor() -> str:
    """The processor's own name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def main() -> int:
    """Exit code 1 if a peer failed to measure anything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", type=lambda text: text.split(","), default=available())
    parser.add_argument("--shapes", type=lambda text: text.split(","), default=list(SHAPES))
    parser.add_argument("--seconds", type=float, default=3.0, help="at most so long for each measurement")
    parser.add_argument("--rounds", type=int, default=1, help="the best of so many, for a machine with other work")
    parser.add_argument("--folder", type=Path, default=ROOT / ".cache/bench", help="where databases go: a disk, not memory")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Found] = {}
    for number in range(options.rounds):
        for peer in options.peers:
            print(f"round {number + 1} of {options.rounds}: {PEERS[peer]}", flush=True)
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                found[peer] = best(found.get(peer, {}), measure(peer, options, folder))
    where = machine()
    (ROOT / "bench/results.json").write_text(json.dumps(where | {"peers": found}, indent=1) + "\n")
    console = Console(width=None if sys.stdout.isatty() else 200)
    print("\nIn brackets: how many times better than LangGraph durable.\n")
    console.print(table(found))
    print(f"{where['machine']}, Python {where['python']}, {', '.join(f'{k} {v}' for k, v in where['versions'].items())}")
    print("\n".join(targets(found)))
    return int(not all(found.values()))


if __name__ == "__main__":
    sys.exit(main())
