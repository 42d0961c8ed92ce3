"""What a session did before that may change what its statement means."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; tickets that exist were given without any."""
    with op.batch_alter_table("reviews") as table:
        table.add_column(sa.Column("context", sa.JSON, nullable=False, server_default="[]"))
    with op.batch_alter_table("reviews") as table:
        table.alter_column("context", server_default=None)


def downgrade() -> None:
    """Remove the column."""
    with op.batch_alter_table("reviews") as table:
        table.drop_column("context")
