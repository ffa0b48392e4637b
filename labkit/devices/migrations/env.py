"""Alembic's way in: it is handed an open connection by `registry.migrate` and works on that."""

from __future__ import annotations

from alembic import context

from labkit.devices.schema import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
