"""AWS Lambda entry: the guarded migration. Handler `functions.migrate.handler`.

CloudFormation calls it on each deployment that brings a new schema, before the other functions
get their new code; anybody may invoke it by hand. It reads its settings in the invocation: what
is wrong with them is then an answer, where a start that fails would leave CloudFormation waiting.
"""

from collections.abc import Mapping
from typing import Any

import structlog

from functions.secret_settings import load_function_database_url
from functions.stack_answer import LambdaContext, StackAnswer
from shared.jobs.migrate import migrate
from shared.logs import configure_logging

log = structlog.get_logger(__name__)


def handler(event: Mapping[str, Any], context: LambdaContext) -> dict[str, str]:
    """Bring the database to the newest schema; answer with the revision reached.

    A custom resource of CloudFormation is told the outcome as well. Its deletion changes
    nothing: the data outlives the stack.

    Raises:
        ConfigurationError: DATABASE_URL is missing or wrong, or a secret cannot be read.
        ServiceUnavailable: PostgreSQL cannot be reached.
    """
    configure_logging("lambda", "INFO")
    if "RequestType" not in event:
        return {"revision": _migrate()}
    with StackAnswer(event, context) as answer:
        if event["RequestType"] != "Delete":
            answer.data["Revision"] = _migrate()
    return {"revision": answer.data.get("Revision", "kept")}


def _migrate() -> str:
    revision = migrate(load_function_database_url())
    log.info("migrated", revision=revision)
    return revision
