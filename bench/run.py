"""Measure arklex and its peers in one go, one process each, one after the other: ``python -m bench.run [--rounds 3]``.

Prints the tables and writes bench/results.json; ``--write`` puts the tables into bench/README.md too.
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
from importlib.metadata import version
from pathlib import Path

from bench.report import PEERS, Found, Round, processor, table, targets
from tests.services import postgres_programs

ROOT = Path(__file__).resolve().parent.parent
SHAPES = ("chain5", "fan5", "wide1000", "deep1000", "dag500")
ABLE = {"celery_redis": ("chain5", "fan5", "wide1000"), "taskiq_redis_streams": ("chain5", "fan5", "wide1000")}
"""What a peer runs where it does not run all: each message of a Celery chain carries the rest of the chain."""
REDIS = ("streams_floor", "arklex_streams", "arklex_streams_pg", "celery_redis", "taskiq_redis_streams")
"""Peers that need redis-server; measured where it is."""
PACKAGES = ("langgraph", "langgraph-checkpoint-sqlite", "dbos", "celery", "taskiq", "redis", "hiredis", "uvloop")
CEILING = 120.0
"""Seconds after which a peer counts as hung."""
BEGIN, END = "<!-- what bench.run --write measured -->", "<!-- until here -->"


def measure(peer: str, options: argparse.Namespace, folder: str) -> Found:
    """One peer in a process of its own; what it measured before it failed, if it does."""
    shapes = [shape for shape in options.shapes if shape in ABLE.get(peer, SHAPES)]
    command = [sys.executable, "-m", f"bench.peers.{peer}", "--shapes", ",".join(shapes)]
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


def available() -> list[str]:
    """The peers that can be measured here."""
    without = set() if shutil.which("redis-server") else set(REDIS)
    if postgres_programs() is None:
        without.add("arklex_streams_pg")
    return [peer for peer in PEERS if peer not in without]


def machine() -> str:
    """Where it ran, in a paragraph."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    versions = [f"{name} {version(name)}" for name in PACKAGES]
    return (
        f"{os.cpu_count()} cores ({processor_name()}), {memory:.0f} GiB, {platform.system()} {kernel()}, "
        f"Python {platform.python_version()}; {', '.join(versions)}."
    )


def kernel() -> str:
    """The kernel's version without what its builder has added."""
    return ".".join(platform.release().split("-")[0].split(".")[:2])


def processor_name() -> str:
    """The processor's own name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def report(rounds: list[Round]) -> str:
    """All of it, as Markdown."""
    how = f"Medians of {len(rounds)} rounds" if len(rounds) > 1 else "One round"
    head = f"{machine()} {how}; in brackets the ratio to the floor above, each round's to its own."
    return "\n\n".join([head, *("\n".join(part) for part in (table(rounds), targets(rounds), processor(rounds)))])


def write(text: str, file: Path) -> None:
    """Put it between the markers."""
    before, begin, rest = file.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{file.name} has no markers for the tables")
    file.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def main() -> int:
    """Exit code 1 if a peer failed to measure anything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", type=lambda text: text.split(","), default=available())
    parser.add_argument("--shapes", type=lambda text: text.split(","), default=list(SHAPES))
    parser.add_argument("--seconds", type=float, default=3.0, help="at most so long for each measurement")
    parser.add_argument("--rounds", type=int, default=1, help="the median of so many")
    parser.add_argument("--write", action="store_true", help="put the tables into bench/README.md")
    parser.add_argument("--folder", type=Path, default=ROOT / ".cache/bench", help="where databases go: a disk, not memory")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    rounds: list[Round] = []
    for number in range(options.rounds):
        rounds.append({})
        for peer in options.peers:
            print(f"round {number + 1} of {options.rounds}: {PEERS[peer]}", flush=True)
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                rounds[-1][peer] = measure(peer, options, folder)
    text = report(rounds)
    print(f"\n{text}")
    (ROOT / "bench/results.json").write_text(json.dumps({"machine": machine(), "rounds": rounds}, indent=1) + "\n")
    if options.write:
        write(text, ROOT / "bench/README.md")
    return int(not all(all(found.values()) for found in rounds))


if __name__ == "__main__":
    sys.exit(main())
