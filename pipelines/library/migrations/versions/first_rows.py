"""Pictures, their parents, jobs, settings, shelf pictures and adapters."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the first tables. Written out: what the tables became later is no part of this step."""
    key, owner = sa.String(32), sa.String(80)
    op.create_table(
        "pictures",
        sa.Column("id", key, primary_key=True),
        sa.Column("owner", owner, nullable=False),
        sa.Column("file", sa.String(255), nullable=False, unique=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("pixels", key),
        sa.Column("look", sa.BigInteger),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("made", sa.Float, nullable=False),
        sa.Column("task", sa.String(80), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.Column("seed", sa.BigInteger),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("seconds", sa.Float),
        sa.Column("job", key, nullable=False),
        sa.Column("favourite", sa.Boolean, nullable=False),
        sa.Column("binned", sa.Float),
    )
    op.create_index("pictures_by_time", "pictures", ["owner", "binned", "made"])
    op.create_index("pictures_by_favour", "pictures", ["owner", "favourite", "made"])
    op.create_index("pictures_by_task", "pictures", ["owner", "task", "made"])
    op.create_index("pictures_by_model", "pictures", ["owner", "model", "made"])
    op.create_index("pictures_by_bytes", "pictures", ["bytes"])
    op.create_index("pictures_by_look", "pictures", ["owner", "look"])
    op.create_index("pictures_by_pixels", "pictures", ["pixels"])
    op.create_index("pictures_by_job", "pictures", ["job"])
    _what_surrounds_them(key, owner)


def _what_surrounds_them(key: sa.String, owner: sa.String) -> None:
    op.create_table(
        "parents",
        sa.Column("child", key, primary_key=True),
        sa.Column("role", sa.String(40), primary_key=True),
        sa.Column("name", key, primary_key=True),
    )
    op.create_index("parents_by_name", "parents", ["name"])
    op.create_table(
        "jobs",
        sa.Column("id", key, primary_key=True),
        sa.Column("owner", owner, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("place", sa.Float, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("keeper", key, nullable=False),
    )
    op.create_index("jobs_by_state", "jobs", ["state", "place"])
    op.create_table(
        "settings",
        sa.Column("owner", owner, primary_key=True),
        sa.Column("name", sa.String(80), primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("changed", sa.Float, nullable=False),
    )
    _what_they_are_made_of(key, owner)


def _what_they_are_made_of(key: sa.String, owner: sa.String) -> None:
    op.create_table(
        "shelf",
        sa.Column("owner", owner, primary_key=True),
        sa.Column("name", key, primary_key=True),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("put", sa.Float, nullable=False),
    )
    op.create_table(
        "adapters",
        sa.Column("id", key, primary_key=True),
        sa.Column("owner", owner, nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("file", sa.String(255), nullable=False),
        sa.Column("base", sa.String(200), nullable=False),
        sa.Column("made", sa.Float, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
    )
    op.create_index("adapters_by_owner", "adapters", ["owner", "name"], unique=True)


def downgrade() -> None:
    """There is nothing before the first revision; the pictures' files hold all that is needed to begin again."""
    for table in ("adapters", "shelf", "settings", "jobs", "parents", "pictures"):
        op.drop_table(table)
