"""Tickets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of tickets."""
    op.create_table(
        "reviews",
        sa.Column("ticket", sa.String(32), primary_key=True),
        sa.Column("binding", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("requester_issuer", sa.Text, nullable=False),
        sa.Column("requester_subject", sa.Text, nullable=False),
        sa.Column("requester_agent", sa.Text),
        sa.Column("connection", sa.Text, nullable=False),
        sa.Column("session", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("rules", sa.JSON, nullable=False),
        sa.Column("reviewer_groups", sa.JSON, nullable=False),
        sa.Column("also_groups", sa.JSON, nullable=False),
        sa.Column("policy_hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("reviewer_issuer", sa.Text),
        sa.Column("reviewer_subject", sa.Text),
        sa.Column("decided_at", sa.Float),
        sa.Column("comment", sa.Text),
    )
    op.create_index("reviews_by_binding", "reviews", ["binding", "state"])
    op.create_index("reviews_by_state", "reviews", ["state", "created_at"])


def downgrade() -> None:
    """Remove the table."""
    op.drop_table("reviews")
