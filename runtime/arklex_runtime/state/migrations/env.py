"""Alembic's environment: runs on the connection that ``arklex_runtime.state.migrate`` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from arklex_runtime.state.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
