"""A cluster's runs that are not over, oldest first: what every replica reads again and again.

Only adds: a release that knows 0002 alone runs on this too.

Revision ID: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    where = sa.text("finished_at IS NULL AND graph_uid IS NOT NULL")
    op.create_index("runs_unfinished", "runs", ["started_at"], postgresql_where=where, sqlite_where=where)


def downgrade() -> None:
    """Drop it."""
    op.drop_index("runs_unfinished", "runs")
