"""The only reader of the environment: every setting, its default, its unit and its rules."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import ConfigurationError
from shared.secret_files import has_password, take_secrets, with_password
from shared.setting_types import (
    BaseAddress,
    DatabaseUrl,
    Networks,
    Origins,
    Prices,
    RedisUrl,
    SecretArns,
)

BROKER_VISIBILITY_TIMEOUT_SECONDS = 3600
"""How long kombu's Redis transport hides a message that was not acknowledged (its default)."""

RETRY_AFTER_MAX_SECONDS = 900.0
"""The longest wait a provider may ask for with Retry-After."""

LOCAL_MOCK_STEP_SECONDS = 0.5


class _DatabaseSettings(BaseSettings):
    """Which database; all that some programs need. `{name}_file` may hold any secret `{name}`."""

    model_config = SettingsConfigDict(
        # docker-compose.yml and template.yaml cannot always leave a variable out.
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    database_url: DatabaseUrl
    database_password: SecretStr | None = Field(
        None, description="Password of the database, if DATABASE_URL holds none."
    )
    database_password_file: Path | None = Field(
        None,
        description="File that holds DATABASE_PASSWORD, instead of it. A password in DATABASE_URL "
        "wins over the file.",
    )

    @model_validator(mode="before")
    @classmethod
    def _take_secrets(cls, given: Any) -> Any:
        values = take_secrets(given, cls.model_fields)
        password, url = values.get("database_password"), values.get("database_url")
        # A file is there by itself in docker-compose.yml, for a server that another address may
        # not mean; what somebody has written down twice is refused.
        is_in_file = not given.get("database_password")
        if password and url is not None and not (is_in_file and has_password(url)):
            values["database_url"] = with_password(url, password)
        return values


class Settings(_DatabaseSettings):
    """All settings. The environment variable of a field is its name in capitals."""

    environment: Literal["local", "staging", "production"] = Field(
        "local", description="Where this runs; on AWS Lambda it must be set."
    )
    redis_url: RedisUrl = Field(
        repr=False,
        description="Redis, as `redis://`, `rediss://` or `unix:///path.sock`. Required.",
    )
    redis_url_file: Path | None = Field(
        None, description="File that holds REDIS_URL, instead of it."
    )
    ai_mock_mode: bool | None = Field(
        None, description="Draw pictures here instead of calling a provider. Local default true."
    )
    mock_scripts: bool | None = Field(
        None, description="Obey `[[tags]]` in prompts (mock mode). Local default true, else false."
    )
    mock_step_seconds: float = Field(
        LOCAL_MOCK_STEP_SECONDS, ge=0, le=60, description="Pause before each of the mock's 4 steps."
    )
    openai_api_key: SecretStr | None = Field(
        None, description="Key of the image API. Workers need it when AI_MOCK_MODE=false."
    )
    openai_api_key_file: Path | None = Field(
        None, description="File that holds OPENAI_API_KEY, instead of it."
    )
    openai_base_url: BaseAddress | None = Field(
        None, description="Another server that speaks the OpenAI Images API, as `https://host/v1`."
    )
    openai_model: str = Field(
        "gpt-image-2.5-flare", min_length=1, max_length=255, description="Which model is asked."
    )
    openai_quality: str = Field(
        "auto", pattern=r"^[a-z]{1,16}$", description="Quality, as the model names it."
    )
    openai_output_format: Literal["png", "jpeg", "webp"] = Field(
        "png", description="Format of the pictures (gpt-image models)."
    )
    openai_partial_images: int = Field(
        3, ge=0, le=3, description="Previews of a picture, each a step of its progress; 0: none."
    )
    openai_prices: Prices = Field(
        {},
        description="Micro-dollars of one image, as JSON: by `quality size`, size, quality or `*`.",
    )
    openai_timeout_seconds: float = Field(
        120, gt=0, description="Longest silence of the provider in the middle of a call."
    )
    on_unknown_charge: Literal["retry", "fail"] = Field(
        "retry", description="What follows a provider call that may have been billed in vain."
    )
    soft_time_limit: float = Field(
        300, gt=0, description="Seconds after which an attempt is stopped and the job fails."
    )
    time_limit: float = Field(
        330, gt=0, description="Seconds after which the process of an attempt is killed."
    )
    max_attempts: int = Field(3, ge=1, le=20, description="Attempts a new job may use.")
    lease_seconds: float = Field(
        60, gt=0, description="How long a silent worker keeps its job; extended while it lives."
    )
    sweep_seconds: float = Field(15, gt=0, description="Seconds between two sweeps of a worker.")
    dispatch_grace_seconds: float = Field(
        60, gt=0, description="Wait before a queued job is dispatched again; doubles each time."
    )
    retry_backoff: int = Field(
        2, ge=0, description="Factor of the exponential backoff, in seconds."
    )
    retry_backoff_max: int = Field(300, ge=0, le=900, description="Cap of the backoff, in seconds.")
    shutdown_grace_seconds: float = Field(
        60, ge=0, description="Seconds a stopping worker waits for running provider calls."
    )
    heartbeat_file: Path | None = Field(
        None, description="File that a Celery worker, or beat, touches while it is at work."
    )
    image_dir: Path = Field(Path("images"), description="Folder of the image store on disk.")
    image_bucket: str | None = Field(
        None, description="S3 bucket that images are kept in, instead of IMAGE_DIR."
    )
    retention_days: float | None = Field(
        None, gt=0, description="Delete ended jobs, with their images, after so many days."
    )
    queue_url: str | None = Field(
        None, description="SQS queue of the cloud runtime. Required there, unused elsewhere."
    )
    event_ttl_seconds: int = Field(
        86_400, ge=60, description="How long Redis keeps a job's events and result record."
    )
    event_stream_max_length: int = Field(
        1_000, ge=50, description="Events kept for one job (Redis trims about here)."
    )
    public_base_url: BaseAddress | None = Field(
        None,
        description="Address under which clients reach the API, as `https://host`; "
        "without it, addresses given to clients begin with `/`.",
    )
    signing_key: SecretStr | None = Field(
        None, description="Key that signs addresses given to clients. Required outside local."
    )
    signing_key_file: Path | None = Field(
        None, description="File that holds SIGNING_KEY, instead of it."
    )
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
    max_open_jobs: int = Field(
        500, ge=1, description="Jobs that a workspace may have waiting or running."
    )
    max_streams: int = Field(
        1_000, ge=1, description="Event streams that a workspace may have open."
    )
    event_token_seconds: int = Field(
        900, ge=1, description="How long the address of an event stream may be opened."
    )
    image_token_seconds: int = Field(
        3_600, ge=1, description="How long the address of an image is valid."
    )
    event_window_seconds: float = Field(
        20,
        ge=0,
        le=28,
        description="How long an answer waits for an event where it cannot be streamed.",
    )
    aws_lambda_function_name: str | None = Field(
        None, description="Set by AWS Lambda itself: tells that this is a function."
    )
    secret_arns: SecretArns = Field(
        (),
        description="Secrets of AWS Secrets Manager, separated by commas: JSON objects of settings "
        "by these names, read by the functions at their start.",
    )
    secrets_version: str | None = Field(
        None, description="Any text: functions that are told another one read their secrets again."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least level of the lines that are logged."
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
        if self.environment != "local":
            self._check_outside_local()
        elif self.require_api_keys and self.signing_key is None:
            raise ValueError("SIGNING_KEY must be set when REQUIRE_API_KEYS=true")
        return self

    def _check_outside_local(self) -> None:
        if self.require_api_keys is False:
            raise ValueError(
                f"REQUIRE_API_KEYS=false is refused when ENVIRONMENT={self.environment}"
            )
        if self.ai_mock_mode is None:
            raise ValueError(f"AI_MOCK_MODE must be set when ENVIRONMENT={self.environment}")
        if self.signing_key is None or len(self.signing_key.get_secret_value()) < 32:
            raise ValueError(
                f"SIGNING_KEY of at least 32 characters must be set when "
                f"ENVIRONMENT={self.environment}"
            )
        if self.mock_scripts and self.environment == "production":
            raise ValueError("MOCK_SCRIPTS=true is refused when ENVIRONMENT=production")

    @cached_property
    def mocks_provider(self) -> bool:
        """Whether pictures are drawn here instead of by a provider."""
        return self.environment == "local" if self.ai_mock_mode is None else self.ai_mock_mode

    @cached_property
    def obeys_scripts(self) -> bool:
        """Whether the mock provider obeys `[[tags]]` in prompts."""
        return self.environment == "local" if self.mock_scripts is None else self.mock_scripts

    @cached_property
    def needs_api_keys(self) -> bool:
        """Whether requests without an API key are refused."""
        if self.require_api_keys is None:
            return self.environment != "local"
        return self.require_api_keys

    @cached_property
    def signing_secret(self) -> str:
        """What signs addresses: SIGNING_KEY, or where nobody else is served, a stand-in.

        The stand-in is the same in every process that uses the same database.
        """
        if self.signing_key is not None:
            return self.signing_key.get_secret_value()
        return sha256(f"darkroom {self.database_url}".encode()).hexdigest()


class _SecretSettings(BaseSettings):
    model_config = Settings.model_config

    secret_arns: SecretArns = ()


class ClientSettings(BaseSettings):
    """What a client of the HTTP API on the command line needs."""

    model_config = Settings.model_config

    darkroom_url: str = Field(
        "http://127.0.0.1:8000", description="The API that the command line talks to."
    )
    darkroom_api_key: SecretStr | None = Field(
        None, description="The API key that the command line sends, if one is needed."
    )

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
    with _naming_settings():
        return Settings(**_by_field(secrets))


def load_database_url(secrets: Mapping[str, Any] | None = None) -> str:
    """Read DATABASE_URL alone, for a program that needs nothing else.

    Args:
        secrets: Settings by the names of their variables; they win over the environment.

    Raises:
        ConfigurationError: It is missing or wrong.
    """
    with _naming_settings():
        return _DatabaseSettings(**_by_field(secrets)).database_url


def load_secret_arns() -> tuple[str, ...]:
    """Read SECRET_ARNS alone: where the other settings may be found."""
    return _SecretSettings().secret_arns


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
        raise ConfigurationError(_describe(error)) from None


def _describe(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        name = "_".join(str(part) for part in problem["loc"]).upper()
        text = str(problem["msg"]).removeprefix("Value error, ")
        if problem["type"] == "missing":
            text = "is not set"
        lines.append(f"{name} {text}".strip())
    return "settings: " + "; ".join(lines)
