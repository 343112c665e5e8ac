"""AWS Lambda entry: the guarded migration. Handler `functions.migrate.handler`.

CloudFormation calls it on each deployment that brings a new schema, before the other functions
get their new code. It can also be invoked by hand, to create an API key as well. Settings are read
inside the invocation, so that a wrong one becomes an answer: CloudFormation would wait an hour for
a function that fails to start.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from functions.lambda_context import LambdaContext
from functions.secret_settings import load_function_database
from functions.stack_answer import stack_answer
from shared.access.api_keys import ApiKeyStore
from shared.access.audit import AuditStore
from shared.access.scopes import OWN_SCOPES, Scope
from shared.database.session import create_unpooled_engine
from shared.errors import InvalidRequest
from shared.jobs.migration import migrate
from shared.logs import configure_logging
from shared.pydantic_errors import describe
from shared.settings import DatabaseSettings

log = structlog.get_logger(__name__)


class KeyOrder(BaseModel):
    """The API key that is to be made."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    workspace: str = Field(description="Whose jobs the key leads to.")
    name: str = Field(description="What the key is for.")
    create_workspace: bool = Field(False, description="Make the workspace if there is none.")
    scopes: list[Annotated[Scope, Field(strict=False)]] = Field(
        list(OWN_SCOPES), description="What it may be used for."
    )


class MigrateEvent(BaseModel):
    """An event that does not come from CloudFormation."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    create_key: KeyOrder | None = None

    @classmethod
    def from_untrusted(cls, event: object) -> Self:
        """Build it from what the function was invoked with.

        Raises:
            InvalidRequest: One line names every field that is wrong.
        """
        try:
            return cls.model_validate(event)
        except ValidationError as error:
            raise InvalidRequest(describe(error, "event")) from None


def handler(event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Migrate the database to the newest schema and return the revision reached.

    A custom resource of CloudFormation also receives the outcome. Deleting it changes nothing,
    since the data outlives the stack. By hand, `{"create_key": {"workspace": "...",
    "name": "..."}}` also creates an API key, which appears in this answer and nowhere else.

    Raises:
        ConfigurationError: DATABASE_URL is missing or wrong, or a secret cannot be read.
        InvalidRequest: The event is not one of these, or the key cannot be created.
        SchemaConflict: The schema holds tables of another application, or not all of ours.
        ServiceUnavailable: PostgreSQL cannot be reached, or its tables are in use.
    """
    configure_logging("lambda", "INFO")
    if "RequestType" not in event:
        return _serve_by_hand(MigrateEvent.from_untrusted(event))
    with stack_answer(event, context) as data:
        if event["RequestType"] != "Delete":
            data["Revision"] = _migrate(load_function_database())
    return {"revision": data.get("Revision", "kept")}


def _serve_by_hand(event: MigrateEvent) -> dict[str, Any]:
    database = load_function_database()
    revision = {"revision": _migrate(database)}
    if event.create_key is None:
        return {**revision}
    return {**revision, **_create_key(database, event.create_key)}


def _migrate(database: DatabaseSettings) -> str:
    revision = migrate(database.database_url, database.database_schema)
    log.info("migrated", revision=revision)
    return revision


def _create_key(database: DatabaseSettings, order: KeyOrder) -> dict[str, Any]:
    """Create the key and return its row, together with the key itself."""
    url, schema = database.database_url, database.database_schema
    engine = create_unpooled_engine(url, "darkroom-keys", schema)
    details = {"name": order.name, "scopes": order.scopes}
    target = f"workspace {order.workspace}"
    with AuditStore(engine).noted("function migrate", "create key", target, **details):
        key, text = ApiKeyStore(engine).create(
            order.workspace,
            order.name,
            makes_workspace=order.create_workspace,
            scopes=order.scopes,
        )
    log.info("key created", key_id=key.id, workspace_id=key.workspace_id)
    return {**key.as_dict(), "key": text}
