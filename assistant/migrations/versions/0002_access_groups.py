"""Access groups: whose documents a user may read."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Give every user a list of groups, empty at first."""
    op.add_column("users", sa.Column("groups", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    """Take the groups away."""
    op.drop_column("users", "groups")
