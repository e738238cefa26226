"""What the fault tests found: ``python -m tests.faults.report`` tells it, ``--write`` puts it into docs/reliability.md.

Each test appends one line to ``.cache/faults/report.jsonl``. Of a test's (and part's) lines at one size the last counts.
"""

from __future__ import annotations

import fcntl
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.faults.checker import Tally
from tests.faults.quantiles import spread
from tests.faults.sizes import SEED, SIZE

ROOT = Path(__file__).resolve().parent.parent.parent
FILE = ROOT / ".cache/faults/report.jsonl"
DOCUMENT = ROOT / "docs/reliability.md"
BEGIN, END = "<!-- figures: python -m tests.faults.report --write -->", "<!-- end of figures -->"
COLUMNS = (
    "test", "size", "faults", "kinds", "in flight", "runs", "succeeded", "lost", "duplicated effects", "recovery p50/p99",
    "start p50/p99",
)  # fmt: skip


@dataclass(slots=True)
class Record:
    """One test's figures. ``part`` tells apart what one test does several times; times are in seconds."""

    test: str
    part: str
    size: str
    seed: int
    faults: dict[str, int]
    in_flight: int
    runs: int
    succeeded: int
    lost: int
    duplicates: int
    interrupted: int
    recoveries: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    day: str = ""

    @classmethod
    def of(cls, test: str, part: str, tally: Tally) -> Record:
        """Of what a test has tallied, today."""
        recoveries, starts = ([round(value, 3) for value in values] for values in (tally.recoveries, tally.starts))
        return cls(
            test, part, SIZE, SEED, dict(tally.faults), tally.in_flight, tally.runs, tally.succeeded, tally.lost,
            tally.duplicates, tally.interrupted, recoveries, starts, time.strftime("%Y-%m-%d", time.gmtime()),
        )  # fmt: skip

    def keep(self, file: Path = FILE) -> None:
        """Append it; several test processes may at once."""
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as out:
            fcntl.flock(out, fcntl.LOCK_EX)
            out.write(json.dumps(asdict(self)) + "\n")


def keep(test: str, tally: Tally, part: str = "") -> None:
    """Print a test's one line, and keep its figures. Without runs only faults count: nothing executes graphs there."""
    print(f"\n{test} {part}".rstrip() + f" ({SIZE}, seed {SEED}): {tally}")
    Record.of(test, part, tally).keep()


def read(file: Path = FILE) -> list[Record]:
    """The last record of each test, part and size; none where nothing was kept."""
    lines = file.read_text().splitlines() if file.exists() else []
    records = [Record(**json.loads(line)) for line in lines]
    return list({(record.test, record.size, record.part): record for record in records}.values())


def together(records: Iterable[Record]) -> Tally:
    """The sum."""
    tally = Tally()
    for record in records:
        tally.faults += Counter(record.faults)
        for name in ("in_flight", "runs", "succeeded", "lost", "duplicates", "interrupted"):
            setattr(tally, name, getattr(tally, name) + getattr(record, name))
        tally.recoveries += record.recoveries
        tally.starts += record.starts
    return tally


def row(test: str, size: str, records: list[Record]) -> str:
    """One row of the table."""
    one = together(records)
    effects = f"{one.duplicates} of {one.interrupted} interrupted"
    of_runs = [one.runs, one.succeeded, one.lost, effects] if one.runs else ["-"] * 4
    cells = [test, size, one.faults.total(), len(one.faults), one.in_flight or "-", *of_runs]
    return line([*cells, spread(one.recoveries), spread(one.starts)])


def line(cells: Iterable[object]) -> str:
    """A line of a table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def table(records: list[Record]) -> list[str]:
    """The lines of the table, by test and size."""
    keys = sorted({(int(record.test.partition("-")[0][1:]), record.test, record.size) for record in records})
    rows = [row(test, size, [r for r in records if (r.test, r.size) == (test, size)]) for _, test, size in keys]
    return [line(COLUMNS), "|---" * len(COLUMNS) + "|", *rows]


def write(document: Path, lines: list[str]) -> None:
    """Put the lines between the document's two marks."""
    before, _, rest = document.read_text().partition(BEGIN)
    _, mark, after = rest.partition(END)
    assert mark, f"{document} has no place for figures"
    document.write_text("\n".join([before + BEGIN, *lines, END + after]))


def main(arguments: list[str]) -> int:
    """Print it; 1 where nothing was kept."""
    records = read()
    if not records:
        print("no test has kept figures yet: make test-faults", file=sys.stderr)
        return 1
    lines = table([record for record in records if record.size != "CI"] or records)
    print("\n".join(lines))
    if "--write" in arguments:
        write(DOCUMENT, lines)
    largest = {
        (record.test, record.part): record for record in sorted(records, key=lambda record: record.size == "CI", reverse=True)
    }
    print(f"\n{together(largest.values())}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
