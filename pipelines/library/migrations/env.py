"""Run by alembic: carries the connection it is given up to the newest revision."""

from alembic import context

from pipelines.library.rows import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
