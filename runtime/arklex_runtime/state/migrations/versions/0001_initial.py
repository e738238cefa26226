"""Bundles, runs, events, signals, sessions, cache.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "bundles",
        sa.Column("digest", sa.Text(), primary_key=True),
        sa.Column("stored_at", sa.Double(), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Text(), primary_key=True),
        sa.Column("graph", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Text()),
        sa.Column("bundle", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double()),
        sqlite_with_rowid=False,
    )
    op.create_index("runs_by_start", "runs", ["started_at"])
    op.create_table(
        "events",
        sa.Column("run_id", sa.Text(), primary_key=True),
        sa.Column("seq", sa.Integer(), primary_key=True),
        sa.Column("events", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "signals",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", sa.Text()),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("consumed", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.UniqueConstraint("run_id", "key", name="signals_once"),
    )
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.Text(), primary_key=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
    )
    op.create_table(
        "cache",
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
    )
    op.create_index("cache_by_expiry", "cache", ["expires_at"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("cache_by_expiry", "cache")
    op.drop_index("runs_by_start", "runs")
    for table in ("cache", "sessions", "signals", "events", "runs", "bundles"):
        op.drop_table(table)
