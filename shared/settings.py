"""The only reader of the environment: every setting, its default, its unit and its rules.

The settings of a provider are declared in its own module, and are a part of `Settings`.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings

from shared.errors import ConfigurationError
from shared.events.keys import Keys
from shared.imaging.image_settings import ImageSettings
from shared.imaging.providers import registry
from shared.jobs.retry import RETRY_AFTER_MAX_SECONDS, RetryPolicy
from shared.limit_settings import LimitSettings
from shared.pydantic_errors import describe
from shared.redaction import note_secrets, password_of
from shared.secret_files import has_password, take_secrets, with_password
from shared.setting_types import (
    SIGNING_KEY_LEAST_BYTES,
    STRICT,
    DatabaseUrl,
    Names,
    Networks,
    Origins,
    PublicAddress,
    QueuePrefix,
    RedisPrefix,
    RedisUrl,
    SchemaName,
    SigningKey,
)
from shared.upkeep_settings import UpkeepSettings
from shared.webhook_settings import WebhookSettings

if TYPE_CHECKING:
    from shared.imaging.providers.declaration import ProviderSettings
else:
    ProviderSettings = registry.join_settings(registry.BUILT_IN)

BROKER_VISIBILITY_TIMEOUT_SECONDS = 3600
"""How long kombu's Redis transport hides a message that was not acknowledged (its default)."""


class _ForeignSecrets(BaseSettings):
    """Secrets that libraries read themselves."""

    model_config = STRICT

    aws_secret_access_key: SecretStr | None = None
    aws_session_token: SecretStr | None = None


class DatabaseSettings(BaseSettings):
    """Which database; all that some programs need. `{name}_file` may hold any secret `{name}`."""

    model_config = STRICT

    database_url: DatabaseUrl = Field(
        repr=False,
        description="PostgreSQL, as `postgresql://user:password@host/name`. Required.",
    )
    database_password: SecretStr | None = Field(
        None, description="Password of the database, if DATABASE_URL holds none."
    )
    database_password_file: Path | None = Field(
        None,
        description="File that holds DATABASE_PASSWORD, instead of it. A password in DATABASE_URL "
        "wins over the file.",
    )
    database_schema: SchemaName | None = Field(
        None,
        description="Schema that holds the tables, made by `darkroom migrate`; without it, the "
        "first of the connection's search_path.",
    )

    @model_validator(mode="before")
    @classmethod
    def _take_secrets(cls, given: Any) -> Any:
        values = take_secrets(given, cls.model_fields)
        # Wrong ones, too: the line that refuses a setting must not show another.
        note_secrets(_secrets_among(values, cls))
        password, url = values.get("database_password"), values.get("database_url")
        # docker-compose.yml always names a file, for its own server, which another address does
        # not mean. A password that was written down twice is refused.
        is_in_file = not given.get("database_password")
        if password and url is not None and not (is_in_file and has_password(url)):
            values["database_url"] = with_password(url, password)
        return values


class Settings(
    ImageSettings,
    ProviderSettings,
    WebhookSettings,
    UpkeepSettings,
    LimitSettings,
    DatabaseSettings,
):
    """All settings. The environment variable of a field is its name in capitals."""

    redis_url: RedisUrl = Field(
        repr=False,
        description="Redis, as `redis://`, `rediss://` or `unix:///path.sock`. Required.",
    )
    redis_url_file: Path | None = Field(None, description="File that holds REDIS_URL.")
    redis_prefix: RedisPrefix = Field(
        "", description="Goes before every key and channel in Redis, as `darkroom:`."
    )
    queue_prefix: QueuePrefix = Field(
        "", description="Goes before the names of Celery's queues, as `darkroom-`."
    )
    soft_time_limit: float = Field(300, gt=0, description="Seconds until an attempt is stopped.")
    time_limit: float = Field(
        330, gt=0, description="Seconds until an attempt's process is killed."
    )
    max_attempts: int = Field(3, ge=1, le=20, description="Attempts a new job may use.")
    lease_seconds: float = Field(60, gt=0, description="How long a silent worker keeps its job.")
    sweep_seconds: float = Field(15, gt=0, description="Seconds between two sweeps of a worker.")
    dispatch_grace_seconds: float = Field(
        60,
        gt=0,
        description="Wait before a released job gets another envelope where the queue cannot say "
        "whether it lost the first; doubles each time.",
    )
    lambda_concurrency: int = Field(
        10, ge=1, description="Jobs that the cloud runtime runs at once: MaximumConcurrency."
    )
    retry_backoff: int = Field(2, ge=0, description="Factor of the backoff, in seconds.")
    retry_backoff_max: int = Field(300, ge=0, le=900, description="Cap of the backoff, in seconds.")
    shutdown_grace_seconds: float = Field(
        60, ge=0, description="Seconds a stopping worker waits for running provider calls."
    )
    heartbeat_file: Path | None = Field(
        None, description="File that a Celery worker or beat touches while it works."
    )
    image_dir: Path = Field(Path("images"), description="Folder of the image store on disk.")
    image_bucket: str | None = Field(None, description="S3 bucket for images instead of IMAGE_DIR.")
    retention_days: float | None = Field(
        None, gt=0, description="Delete ended jobs, with their images, after so many days."
    )
    asset_retention_days: float | None = Field(
        None, gt=0, description="Delete uploaded pictures that no job names after so many days."
    )
    queue_url: str | None = Field(None, description="SQS queue; only the cloud runtime has one.")
    event_ttl_seconds: int = Field(
        86_400,
        ge=60,
        description="How long Redis keeps the events of an open job, and the result record of an "
        "ended one.",
    )
    event_stream_max_length: int = Field(1_000, ge=50, description="Events kept of one job.")
    public_base_url: PublicAddress | None = Field(
        None,
        description="Address under which clients reach the API, as `https://host`; "
        "without it, addresses given to clients begin with `/`.",
    )
    signing_key: SigningKey | None = Field(
        None,
        description="Key of at least 32 bytes that signs addresses given to clients. The API "
        "needs it where API keys are required.",
    )
    signing_key_file: Path | None = Field(None, description="File that holds SIGNING_KEY.")
    require_api_keys: bool | None = Field(
        None,
        description="Refuse requests without an API key. Local default false: then only this "
        "machine is served.",
    )
    api_host: str = Field("127.0.0.1", description="Address that the API listens on.")
    api_port: int = Field(8000, ge=0, le=65_535, description="Port that the API listens on.")
    trusted_networks: Networks = Field(
        (),
        description="Who else is served without API keys, separated by commas: networks such as "
        "`10.0.0.0/24`, or `gateway`, the host of this container.",
    )
    cors_origins: Origins = Field(
        (), description="Origins whose pages may use the API, separated by commas."
    )
    disconnect: Literal["keep", "cancel"] = Field(
        "keep",
        description="What becomes of a job whose OpenAI client disconnects before its end.",
    )
    api_concurrency: int | None = Field(
        None,
        ge=1,
        description="Sandboxes of the API in the cloud: ApiConcurrency. A workspace may stream on "
        "half of them.",
    )
    event_token_seconds: int = Field(
        900,
        ge=1,
        description="How long a stream's address works; longer until five minutes after its job.",
    )
    image_token_seconds: int = Field(
        3_600,
        ge=1,
        description="How long an image's address works at most; it changes four times in it.",
    )
    event_window_seconds: float = Field(
        20, ge=0, le=28, description="Wait for an event where a response cannot be streamed."
    )
    aws_lambda_function_name: str | None = Field(
        None, description="Set by AWS Lambda: this process is a function."
    )
    secret_arns: Names = Field(
        (),
        description="Secrets of AWS Secrets Manager, separated by commas: JSON objects of settings "
        "by these names, read by the functions at their start.",
    )
    secrets_version: str | None = Field(
        None, description="Any text: functions read their secrets again when it changes."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO",
        description="Least level of the lines that are logged; libraries log nothing below INFO.",
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.soft_time_limit >= self.time_limit:
            raise ValueError("SOFT_TIME_LIMIT must be less than TIME_LIMIT")
        if self.lease_seconds >= self.time_limit:
            raise ValueError("LEASE_SECONDS must be less than TIME_LIMIT")
        longest_hold = self.time_limit + max(self.retry_backoff_max, RETRY_AFTER_MAX_SECONDS)
        if longest_hold >= BROKER_VISIBILITY_TIMEOUT_SECONDS:
            raise ValueError(
                f"TIME_LIMIT and the longest backoff together ({longest_hold:g} s) must stay "
                f"below the broker's visibility timeout of {BROKER_VISIBILITY_TIMEOUT_SECONDS} s"
            )
        if self.aws_lambda_function_name and "environment" not in self.model_fields_set:
            raise ValueError("ENVIRONMENT must be set on AWS Lambda")
        known = registry.registered(self.image_provider_modules)
        if unknown := set(self.provider_limits) - set(known):
            raise ValueError(f"MAX_PROVIDER_CALLS: no provider {', '.join(sorted(unknown))}")
        if self.environment != "local":
            self._check_outside_local()
        return self

    def _check_outside_local(self) -> None:
        if self.require_api_keys is False:
            raise ValueError(
                f"REQUIRE_API_KEYS=false is refused when ENVIRONMENT={self.environment}"
            )
        if self.ai_mock_mode is None:
            raise ValueError(f"AI_MOCK_MODE must be set when ENVIRONMENT={self.environment}")

    @property
    def retry_policy(self) -> RetryPolicy:
        """When another attempt follows a failed one."""
        return RetryPolicy(self.retry_backoff, self.retry_backoff_max)

    @cached_property
    def redis_keys(self) -> Keys:
        """The names of keys and channels in Redis."""
        return Keys(self.redis_prefix)

    @cached_property
    def needs_api_keys(self) -> bool:
        """Whether requests without an API key are refused."""
        if self.require_api_keys is None:
            return self.environment != "local"
        return self.require_api_keys

    @cached_property
    def signing_secret(self) -> str:
        """What the API signs addresses with: SIGNING_KEY, or where no keys are needed, a stand-in.

        The stand-in is the same in every process that uses the same database.

        Raises:
            ConfigurationError: API keys are needed, and SIGNING_KEY is not set.
        """
        key = "" if self.signing_key is None else self.signing_key.get_secret_value()
        if self.needs_api_keys and not key:
            raise ConfigurationError(
                f"settings: SIGNING_KEY of at least {SIGNING_KEY_LEAST_BYTES} bytes must be set "
                f"where API keys are required"
            )
        return key or sha256(f"darkroom {self.database_url}".encode()).hexdigest()


class _SecretSettings(BaseSettings):
    model_config = STRICT

    secret_arns: Names = ()


class ClientSettings(BaseSettings):
    """What a client of the HTTP API on the command line needs."""

    model_config = STRICT

    darkroom_url: str = Field(
        "http://127.0.0.1:8000", description="The API that the command line talks to."
    )
    darkroom_api_key: SecretStr | None = Field(
        None, description="The API key that the command line sends, if one is needed."
    )

    @model_validator(mode="before")
    @classmethod
    def _note_secrets(cls, given: Any) -> Any:
        note_secrets(_secrets_among(given, cls))
        return given

    @field_validator("darkroom_url")
    @classmethod
    def _check_scheme(cls, url: str) -> str:
        if re.fullmatch(r"https?://[^\s?#]+", url) is None:
            raise ValueError("must begin with http:// or https://")
        return url.rstrip("/")


def load_settings(secrets: Mapping[str, Any] | None = None) -> Settings:
    """Read and check the environment.

    Args:
        secrets: Settings by the names of their variables; they win over the environment.

    Raises:
        ConfigurationError: Something is missing or wrong; one line names each setting.
    """
    values = _by_field(secrets)
    with _naming_settings():
        settings = Settings(**values)
        outside = registry.outside(settings.image_provider_modules)
        return registry.join_settings(outside, Settings)(**values) if outside else settings


def load_database(secrets: Mapping[str, Any] | None = None) -> DatabaseSettings:
    """Read which database it is, for a program that needs nothing else.

    Args:
        secrets: Settings by the names of their variables; they win over the environment.

    Raises:
        ConfigurationError: Something is missing or wrong.
    """
    with _naming_settings():
        return DatabaseSettings(**_by_field(secrets))


def load_secret_arns() -> tuple[str, ...]:
    """Read SECRET_ARNS alone: where the other settings may be found."""
    return _SecretSettings().secret_arns


def secret_fields(kind: type[BaseSettings]) -> set[str]:
    """Return the names of the settings that are secrets, but for addresses with a password."""
    fields = kind.model_fields.items()
    return {name for name, field in fields if _holds_secret(field.annotation)}


def _secrets_among(values: Mapping[str, Any], kind: type[BaseSettings]) -> Iterator[str]:
    """Yield every secret among raw values, by the names of their settings."""
    secrets = secret_fields(kind)
    for name, value in values.items():
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not isinstance(text, str):
            continue
        if name in secrets:
            yield text
        yield password_of(text)
    yield from (secret.get_secret_value() for _, secret in _ForeignSecrets() if secret)


def _holds_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(map(_holds_secret, get_args(annotation)))


def _by_field(secrets: Mapping[str, Any] | None) -> dict[str, Any]:
    # Empty means not set, here as in the environment.
    return {name.lower(): value for name, value in (secrets or {}).items() if value != ""}


def load_client_settings() -> ClientSettings:
    """Read what a client of the HTTP API needs.

    Raises:
        ConfigurationError: Something is wrong; one line names each setting.
    """
    with _naming_settings():
        return ClientSettings()


@contextmanager
def _naming_settings() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        line = describe(error, "settings", missing="is not set", spell=str.upper)
        raise ConfigurationError(line) from None
