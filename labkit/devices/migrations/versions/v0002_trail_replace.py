"""No line of the trail is replaced either: SQLite's `INSERT OR REPLACE` deletes a row without asking DELETE triggers."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# https://www.sqlite.org/lang_conflict.html: "delete triggers fire if and only if recursive triggers are enabled".
_REFUSE_SQLITE = """
CREATE TRIGGER trail_no_replace BEFORE INSERT ON trail
WHEN EXISTS (SELECT 1 FROM trail WHERE number = NEW.number)
BEGIN SELECT RAISE(ABORT, 'the trail only grows'); END
"""


def upgrade() -> None:
    """Add the trigger; PostgreSQL has no statement that needs it."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(_REFUSE_SQLITE)
