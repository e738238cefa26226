"""Microseconds of the journal: one commit by itself, and one batch of many that are committed together.

``python -m bench.journal [url …]``; by default a SQLite file with synchronous NORMAL and FULL, and memory. A "lone" commit is
timed from ``submit`` to its callback, a turn of the event loop included; "floor" is the same INSERT by bare sqlite3.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from arklex_runtime.state.journal import Journal, open_journal
from arklex_runtime.state.records import Batch, NewRun
from arklex_runtime.state.statements import INSERT_EVENTS

PAYLOAD = b"[" + b"1" * 300 + b"]"
LONE = 4000
GROUP = 500
GROUPS = 20


async def lone(journal: Journal, run_id: str, first: int, count: int) -> list[float]:
    """Commit batches one after the other, each from the callback of the last; returns seconds of each."""
    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    times: list[float] = []

    def next_batch(seq: int) -> None:
        start = time.perf_counter()

        def done(error: BaseException | None) -> None:
            times.append(time.perf_counter() - start)
            if error is not None:
                finished.set_exception(error)
            elif seq < first + count - 1:
                next_batch(seq + 1)
            else:
                finished.set_result(None)

        journal.submit(Batch(run_id, seq, PAYLOAD), done)

    next_batch(first)
    await finished
    return times


async def group(journal: Journal, batches: list[Batch]) -> float:
    """Commit batches submitted in one turn of the loop; returns seconds per batch."""
    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    left = len(batches)

    def done(error: BaseException | None) -> None:
        nonlocal left
        left -= 1
        if error is not None and not finished.done():
            finished.set_exception(error)
        elif left == 0 and not finished.done():
            finished.set_result(None)

    start = time.perf_counter()
    for batch in batches:
        journal.submit(batch, done)
    await finished
    return (time.perf_counter() - start) / len(batches)


def floor(path: Path) -> tuple[float, float]:
    """Return seconds of the lone INSERT and of one in a group, by bare sqlite3."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        one = [timed(connection, row("floor", seq)) for seq in range(1, LONE + 1)]
        many = []
        for turn in range(GROUPS):
            rows = [row(f"floor{index}", turn) for index in range(GROUP)]
            start = time.perf_counter()
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(INSERT_EVENTS, rows)
            connection.execute("COMMIT")
            many.append((time.perf_counter() - start) / GROUP)
    return statistics.median(one), statistics.median(many)


def row(run_id: str, seq: int) -> dict[str, object]:
    return {"run_id": run_id, "seq": seq, "events": PAYLOAD}


def timed(connection: sqlite3.Connection, params: dict[str, object]) -> float:
    start = time.perf_counter()
    connection.execute(INSERT_EVENTS, params)
    return time.perf_counter() - start


async def measure(url: str) -> str:
    """Measure a journal; returns its line."""
    journal = await open_journal(url)
    await journal.put_bundle("digest", b"{}")
    names = [f"run{index}-{time.time_ns()}" for index in range(GROUP)]
    await group(journal, [Batch(name, 1, b"[]", new_run=NewRun(name, "g", "default", "digest", None, 0.0)) for name in names])
    ones = sorted(await lone(journal, names[0], 1000, LONE))
    many = [await group(journal, [Batch(name, 2 + turn, PAYLOAD) for name in names]) for turn in range(GROUPS)]
    await journal.close()
    return line(statistics.median(ones), statistics.median(many), ones[int(LONE * 0.99)], ones[-1])


def line(one: float, many: float, p99: float | None = None, worst: float | None = None) -> str:
    tail = f"   lone p99 {p99 * 1e6:8.1f}  max {worst * 1e6:8.0f}" if p99 and worst else ""
    return f"lone {one * 1e6:7.1f} µs   in a group of {GROUP} {many * 1e6:6.2f} µs{tail}"


def main() -> None:
    """Print a line for each journal."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "journal.db"
        urls = sys.argv[1:] or [f"sqlite:///{file}", f"sqlite:///{folder}/full.db?synchronous=FULL", "sqlite://"]
        for url in urls:
            print(f"{url.partition(folder)[2] or url:32}", uvloop.run(measure(url)))
            if url == f"sqlite:///{file}":
                print(f"{'  floor, bare sqlite3':32}", line(*floor(file)))


if __name__ == "__main__":
    main()
