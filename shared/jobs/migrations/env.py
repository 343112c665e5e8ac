"""Run by Alembic for every command; the connection comes from `shared.jobs.migration`."""

from alembic import context

from shared.jobs.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
