"""Settings of the processes that docker-compose.yml and template.yaml start."""

import os
import re
from collections.abc import Iterator, Mapping
from unittest.mock import patch

from shared.errors import ConfigurationError
from shared.secret_files import has_password
from shared.settings import ClientSettings, Settings, load_settings

FOREIGN = (
    "AWS_",
    "CELERY_",
    "FLOWER_",
    "MALLOC_",
    "OTEL_",
    "PYTHON",
    "TZ",
    "TMPDIR",
    "NO_PROXY",
    "HTTPS_PROXY",
)
"""How the names of variables begin that our processes have and other software reads."""

AGREEING = (
    "environment", "database_url", "redis_url", "time_limit", "soft_time_limit", "max_attempts",
    "lease_seconds", "retry_backoff", "retry_backoff_max", "dispatch_grace_seconds",
    "event_ttl_seconds", "event_stream_max_length", "image_dir", "image_bucket", "ai_mock_mode",
    "database_schema", "redis_prefix", "queue_prefix",
)  # fmt: skip
"""Settings that all processes of one deployment must have alike."""

SECRETS = {name.removesuffix("_file") for name in Settings.model_fields if name.endswith("_file")}
SECRETS &= set(Settings.model_fields)
"""Settings that may stand in a file."""

ADDRESSES = {"database_url", "redis_url"}
"""May hold a password; on one machine, where only that machine reaches the server, it is none."""


def load_from(
    variables: Mapping[str, str | None], secrets: Mapping[str, str] | None = None
) -> Settings:
    """Return the settings of a process with these variables alone.

    Raises:
        ConfigurationError: It would refuse to start.
    """
    # CloudFormation gives a function every value as text, also that of a number.
    given = {name: str(value) for name, value in variables.items() if value is not None}
    with patch.dict(os.environ, given, clear=True):
        return load_settings(secrets)


def accepted(
    processes: Mapping[str, Mapping[str, str | None]], secrets: Mapping[str, str] | None = None
) -> tuple[dict[str, Settings], list[str]]:
    """Return the settings of each process, and why others refuse theirs."""
    loaded, refusals = {}, []
    for name, variables in processes.items():
        try:
            loaded[name] = load_from(variables, secrets)
        except ConfigurationError as error:
            refusals.append(f"{name}: {error}")
    return loaded, refusals


def differing(settings: Mapping[str, Settings]) -> Iterator[str]:
    """Yield the settings that processes of one deployment do not have alike."""
    for name in AGREEING:
        # A process that asks the database nothing has no password of it.
        values = {re.sub(r":[^/@]*@", "@", str(getattr(one, name))) for one in settings.values()}
        if len(values) > 1:
            yield f"{name.upper()} differs"


def misspelt(variables: Mapping[str, str | None]) -> Iterator[str]:
    """Yield variables that are no setting, and that no other software reads."""
    known = {*Settings.model_fields, *ClientSettings.model_fields}
    for name in variables:
        if name.lower() not in known and not name.startswith(FOREIGN):
            yield f"no setting: {name}"


def legible(variables: Mapping[str, str | None], *, is_local: bool) -> Iterator[str]:
    """Yield secrets that stand in an environment, which people may look at."""
    for name in sorted(SECRETS | ADDRESSES):
        value = variables.get(name.upper())
        is_secret = name not in ADDRESSES or (
            not is_local and value is not None and (has_password(value) or "{{resolve:" in value)
        )
        if value and is_secret:
            yield f"{name.upper()} in plain text"
