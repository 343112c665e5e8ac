"""Settings of a function: its environment, and what AWS Secrets Manager keeps for it.

Read once, at the start of a sandbox: a secret that was changed reaches new sandboxes only.
"""

import json
from collections.abc import Sequence
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from shared.errors import ConfigurationError
from shared.settings import (
    DatabaseSettings,
    Settings,
    load_database,
    load_secret_arns,
    load_settings,
)

# A cold start has ten seconds in all (Lambda Developer Guide, "Lambda execution environment").
_CLIENT_CONFIG = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 2})


def load_function_settings() -> Settings:
    """Read and check the environment and the secrets of SECRET_ARNS.

    Raises:
        ConfigurationError: Something is missing or wrong, or a secret cannot be read.
    """
    return load_settings(read_secrets(load_secret_arns()))


def load_function_database() -> DatabaseSettings:
    """Read which database it is, for the migration.

    Raises:
        ConfigurationError: It is missing or wrong, or a secret cannot be read.
    """
    return load_database(read_secrets(load_secret_arns()))


def read_secrets(arns: Sequence[str]) -> dict[str, Any]:
    """Return the settings that these secrets hold; a later one wins over those before it.

    Raises:
        ConfigurationError: One cannot be read, or is no JSON object.
    """
    if not arns:
        return {}
    client: Any = boto3.client("secretsmanager", config=_CLIENT_CONFIG)
    values: dict[str, Any] = {}
    for arn in arns:
        values |= _read_secret(client, arn)
    return values


def _read_secret(client: Any, arn: str) -> dict[str, Any]:
    name = arn.rpartition(":")[2]
    try:
        text = client.get_secret_value(SecretId=arn).get("SecretString", "")
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        raise ConfigurationError(f"settings: secret {name} cannot be read: {code}") from None
    except BotoCoreError as error:
        # The text of such an error would name the endpoint.
        kind = type(error).__name__
        raise ConfigurationError(f"settings: secret {name} cannot be read: {kind}") from None
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise ConfigurationError(f"settings: secret {name} is not a JSON object of settings")
    return values
