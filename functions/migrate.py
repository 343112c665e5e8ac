"""AWS Lambda entry: the guarded migration. Handler `functions.migrate.handler`.

CloudFormation calls it on each deployment that brings a new schema, before the other functions
get their new code; anybody may invoke it by hand, also for an API key. It reads its settings in
the invocation: what is wrong with them is then an answer, where a start that fails would leave
CloudFormation waiting.
"""

from collections.abc import Mapping
from typing import Any

import structlog

from functions.migrate_event import KeyOrder, MigrateEvent
from functions.secret_settings import load_function_database_url
from functions.stack_answer import LambdaContext, StackAnswer
from shared.access.api_keys import ApiKeyStore
from shared.database.session import create_unpooled_engine
from shared.jobs.migrate import migrate
from shared.logs import configure_logging

log = structlog.get_logger(__name__)


def handler(event: Mapping[str, Any], context: LambdaContext) -> dict[str, str | None]:
    """Bring the database to the newest schema; answer with the revision reached.

    A custom resource of CloudFormation is told the outcome as well. Its deletion changes
    nothing: the data outlives the stack. By hand, `{"create_key": {"workspace": "...",
    "name": "..."}}` makes an API key, too: the answer holds it, and nothing else ever does.

    Raises:
        ConfigurationError: DATABASE_URL is missing or wrong, or a secret cannot be read.
        InvalidRequest: No such key can be made, or the event is none of these.
        ServiceUnavailable: PostgreSQL cannot be reached, or its tables are in use.
    """
    configure_logging("lambda", "INFO")
    if "RequestType" not in event:
        return _serve_by_hand(MigrateEvent.from_untrusted(event))
    with StackAnswer(event, context) as answer:
        if event["RequestType"] != "Delete":
            answer.data["Revision"] = _migrate(load_function_database_url())
    return {"revision": answer.data.get("Revision", "kept")}


def _serve_by_hand(event: MigrateEvent) -> dict[str, str | None]:
    database_url = load_function_database_url()
    revision = {"revision": _migrate(database_url)}
    if event.create_key is None:
        return {**revision}
    return {**revision, **_create_key(database_url, event.create_key)}


def _migrate(database_url: str) -> str:
    revision = migrate(database_url)
    log.info("migrated", revision=revision)
    return revision


def _create_key(database_url: str, order: KeyOrder) -> dict[str, str | None]:
    """Make the key and return all that may be known of it, with its text."""
    store = ApiKeyStore(create_unpooled_engine(database_url, "darkroom-keys"))
    key, text = store.create(order.workspace, order.name, makes_workspace=order.create_workspace)
    log.info("key created", key_id=key.id, workspace_id=key.workspace_id)
    return {**key.as_dict(), "key": text}
