"""Run by Alembic for every command; the connection comes from `shared.jobs.migration`."""

from alembic import context

from shared.jobs.queue_tables import WorkerSlots

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=WorkerSlots.metadata,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
