"""The tables of ``make bench``: medians, ratios to each kind's floor, and where they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.report import MEASURES, Round, processor, ratio, table, targets
from bench.run import BEGIN, END, write

CHAIN, RATE = MEASURES[0], MEASURES[2]


def round_of(floor: float, ours: float) -> Round:
    return {
        "streams_floor": {"chain5": {"p50_ms": floor, "per_second": 1000 / floor}},
        "arklex_streams": {"chain5": {"p50_ms": ours, "per_second": 1000 / ours, "processor_us": {"worker": 200.0}}},
    }


ROUNDS = [round_of(1.0, 1.5), round_of(10.0, 30.0), round_of(2.0, 3.2)]


def test_a_ratio_is_the_median_of_the_rounds_own() -> None:
    assert ratio(ROUNDS, "arklex_streams", "streams_floor", CHAIN) == pytest.approx(1.6)
    assert ratio(ROUNDS, "arklex_streams", "streams_floor", RATE) == pytest.approx(1 / 1.6)
    assert ratio(ROUNDS, "dbos", "streams_floor", CHAIN) is None


def test_figures_stand_beside_the_ratio_to_their_floor() -> None:
    floor, ours = table(ROUNDS)[2:]
    assert floor.startswith("| floor: redis-py streams, no journal | 2.00 | – | 500 |")
    assert ours.startswith("| **arklex, distributed, SQLite** | 3.20 (1.60×) | – | 312 (0.62×) |")


def test_targets_say_what_was_met() -> None:
    assert [line.rsplit("| ", 1)[-1] for line in targets([round_of(1.0, 2.5)])][2:] == ["**missed** |", "**missed** |"]
    assert [line.rsplit("| ", 1)[-1] for line in targets(ROUNDS)][2:] == ["met |", "met |"]


def test_processor_time_is_by_process() -> None:
    assert processor(ROUNDS)[2:] == ["| **arklex, distributed, SQLite** | chain5 |  | 200 |  |  |"]


def test_tables_are_written_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write("new", page)
    assert page.read_text() == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    page.write_text("no markers")
    with pytest.raises(SystemExit):
        write("new", page)
