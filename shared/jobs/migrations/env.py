"""Run by Alembic for every command; the connection comes from `shared.jobs.migration`."""

from alembic import context

from shared.jobs.access_tables import ApiKey
from shared.jobs.migration import VERSION_TABLE, current_schema
from shared.jobs.queue_tables import WorkerSlots
from shared.jobs.webhook_tables import Webhook

METADATA = {table.metadata for table in (ApiKey, WorkerSlots, Webhook)}
"""One, that of their base: imported, a module adds its tables to it."""

_connection = context.config.attributes["connection"]
context.configure(
    connection=_connection,
    version_table=VERSION_TABLE,
    version_table_schema=current_schema(_connection),
    target_metadata=list(METADATA),
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
