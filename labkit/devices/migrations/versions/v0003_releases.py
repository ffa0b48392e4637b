"""Releases of firmware, how far each has been rolled out, and what devices said of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_MOMENT = sa.String(32)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "releases",
        sa.Column("product", sa.String(31), nullable=False),
        sa.Column("version", sa.String(17), nullable=False),
        sa.Column("header", sa.LargeBinary, nullable=False),
        sa.Column("published_at", _MOMENT, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("percent", sa.Integer, nullable=False),
        sa.Column("first", sa.Text, nullable=False),
        sa.Column("changed_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("product", "version", name="pk_releases"),
    )
    op.create_table(
        "reports",
        sa.Column("product", sa.String(31), nullable=False),
        sa.Column("version", sa.String(17), nullable=False),
        sa.Column("device", sa.String(63), nullable=False),
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("product", "version", "device", name="pk_reports"),
        sa.ForeignKeyConstraint(["device"], ["devices.id"], name="fk_reports_device"),
    )
