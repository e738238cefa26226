"""docs/operations.md names every column and every metric there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from arklex_api.crd.columns import KINDS

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
_METRIC = re.compile(r"[\"'](arklex_[a-z_]+)[\"']")
_NO_METRICS = {"arklex_operator", "arklex_runtime", "arklex_api", "arklex_attempt_tail"}


def _section(title: str) -> str:
    return DOCUMENT.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def _metrics() -> set[str]:
    files = [path for part in ("operator", "runtime") for path in (ROOT / part).rglob("*.py")]
    return {name for path in files for name in _METRIC.findall(path.read_text(encoding="utf-8"))} - _NO_METRICS


def test_the_metrics_described_are_those_there_are() -> None:
    assert set(re.findall(r"`(arklex_[a-z_]+)`", _section("Metrics"))) == _metrics()


@pytest.mark.parametrize("info", KINDS, ids=lambda info: str(info.kind))
def test_every_column_is_described(info: object) -> None:
    assert [column.name for column in getattr(info, "columns", ()) if column.name not in _section("Columns")] == []


def test_links_within_the_page_lead_somewhere() -> None:
    titles = re.findall(r"^#+ (.+)$", DOCUMENT, re.M)
    anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]+)\)", DOCUMENT)) - anchors == set()
