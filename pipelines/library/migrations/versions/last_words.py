"""Jobs that broke or were stopped stay, with the sentence that says why, so that they can be tried again."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what a job said last."""
    op.add_column("jobs", sa.Column("said", sa.Text))
