"""A journal's URL for each database and durability."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=["normal", "full", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty journal: SQLite NORMAL, SQLite FULL, PostgreSQL."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'journal.db'}?synchronous={request.param.upper()}"
