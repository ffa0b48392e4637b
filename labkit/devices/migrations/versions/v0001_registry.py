"""The registry: devices, certificates, tokens, the trail that only grows, and the parts of batches."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_MOMENT = sa.String(32)

_REFUSE_SQLITE = """
CREATE TRIGGER trail_no_{verb} BEFORE {verb} ON trail
BEGIN SELECT RAISE(ABORT, 'the trail only grows'); END
"""

_REFUSE_POSTGRESQL = (
    """
CREATE FUNCTION trail_only_grows() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the trail only grows'; END $$
""",
    "CREATE TRIGGER trail_no_change BEFORE UPDATE OR DELETE ON trail FOR EACH ROW EXECUTE FUNCTION trail_only_grows()",
    "CREATE TRIGGER trail_no_truncate BEFORE TRUNCATE ON trail FOR EACH STATEMENT EXECUTE FUNCTION trail_only_grows()",
)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "devices",
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("serial", sa.String(32)),
        sa.Column("mac", sa.String(17)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("batch", sa.String(63)),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("renew_now", sa.Boolean, nullable=False),
        sa.Column("made_at", _MOMENT, nullable=False),
        sa.Column("moved_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_devices"),
        sa.UniqueConstraint("serial", name="uq_devices_serial"),
        sa.UniqueConstraint("mac", name="uq_devices_mac"),
    )
    op.create_index("ix_devices_batch", "devices", ["batch"])
    op.create_table(
        "certificates",
        sa.Column("serial", sa.String(40), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("profile", sa.String(16), nullable=False),
        sa.Column("issuer", sa.String(64), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("not_before", _MOMENT, nullable=False),
        sa.Column("not_after", _MOMENT, nullable=False),
        sa.Column("recorded_at", _MOMENT, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(32)),
        sa.Column("ended_at", _MOMENT),
        sa.Column("replaces", sa.String(40)),
        sa.Column("der", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("serial", name="pk_certificates"),
        sa.UniqueConstraint("fingerprint", name="uq_certificates_fingerprint"),
        sa.UniqueConstraint("key", name="uq_certificates_key"),
        sa.UniqueConstraint("replaces", name="uq_certificates_replaces"),
    )
    op.create_index("ix_certificates_name", "certificates", ["name"])
    op.create_table(
        "tokens",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("device", sa.String(63), nullable=False),
        sa.Column("made_at", _MOMENT, nullable=False),
        sa.Column("made_by", sa.String(64), nullable=False),
        sa.Column("ends_at", _MOMENT, nullable=False),
        sa.Column("used_at", _MOMENT),
        sa.Column("certificate", sa.String(40)),
        sa.Column("revoked_at", _MOMENT),
        sa.PrimaryKeyConstraint("digest", name="pk_tokens"),
        sa.ForeignKeyConstraint(["device"], ["devices.id"], name="fk_tokens_device"),
    )
    op.create_index("ix_tokens_device", "tokens", ["device"])
    op.create_table(
        "trail",
        sa.Column(
            "number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_trail"),
    )
    op.create_index("ix_trail_subject", "trail", ["subject"])
    op.create_table(
        "chunks",
        sa.Column("batch", sa.String(63), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("batch", "number", name="pk_chunks"),
    )
    if op.get_bind().dialect.name == "postgresql":
        for statement in _REFUSE_POSTGRESQL:
            op.execute(statement)
    else:
        for verb in ("UPDATE", "DELETE"):
            op.execute(_REFUSE_SQLITE.format(verb=verb))
