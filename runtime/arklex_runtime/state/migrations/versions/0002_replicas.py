"""Where a cluster's runs come from and when parked ones wake, logs of attempts, owners with leases, counts of ended runs.

Only adds, and indexes only rows that a cluster writes: a release that knows 0001 alone runs on this too.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

INDICES = {
    "runs_by_graph": (["graph_uid", "started_at"], "graph_uid IS NOT NULL"),
    "runs_by_object": (["object_uid"], "object_uid IS NOT NULL"),
    "runs_open": (["graph_uid", "wake_at"], "finished_at IS NULL AND graph_uid IS NOT NULL"),
    "runs_ended": (["phase", "finished_at"], "finished_at IS NOT NULL AND graph_uid IS NOT NULL"),
}


def upgrade() -> None:
    """Add columns and tables."""
    for name in ("graph_uid", "object_uid", "object_name"):
        op.add_column("runs", sa.Column(name, sa.Text()))
    op.add_column("runs", sa.Column("wake_at", sa.Double()))
    for name, (columns, where) in INDICES.items():
        op.create_index(name, "runs", columns, postgresql_where=sa.text(where), sqlite_where=sa.text(where))
    open_ones = sa.text("consumed = 0")
    op.create_index("signals_open", "signals", ["run_id"], postgresql_where=open_ones, sqlite_where=open_ones)
    op.create_table(
        "logs",
        sa.Column("run_id", sa.Text(), primary_key=True),
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("attempt", sa.Integer(), primary_key=True),
        sa.Column("pod", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
    )
    op.create_table(
        "owners",
        sa.Column("owner", sa.Text(), primary_key=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
    )
    op.create_table(
        "graph_counts",
        sa.Column("graph_uid", sa.Text(), primary_key=True),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("graph", sa.Text(), nullable=False),
        sa.Column("succeeded", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("graph_counts", "leases", "owners", "logs"):
        op.drop_table(table)
    op.drop_index("signals_open", "signals")
    for name in INDICES:
        op.drop_index(name, "runs")
    for name in ("wake_at", "object_name", "object_uid", "graph_uid"):
        op.drop_column("runs", name)
