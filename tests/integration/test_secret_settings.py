"""Settings from Secrets Manager: what the functions read at their start, and how it fails."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from functions.secret_settings import load_function_database, load_function_settings
from shared.errors import ConfigurationError
from shared.imaging.providers.openai import OpenAISettings
from tests.architecture.test_imports import AWS, run

SIGNING_KEY = "s3cret-key-of-at-least-32-characters"
ADDRESSES = {
    "DATABASE_URL": "postgresql://shop:s3cret-pw@db/shop",
    "REDIS_URL": "rediss://:s3cret-pw@cache:6379/0",
    "SIGNING_KEY": SIGNING_KEY,
}

Keep = Callable[[str, str], str]


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """Give the address of a Secrets Manager."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def keep(aws: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keep]:
    """Give what keeps a secret and returns its ARN."""
    for name, value in {**AWS, "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ENVIRONMENT", "staging")
    monkeypatch.setenv("AI_MOCK_MODE", "true")
    client: Any = boto3.client("secretsmanager")
    arns: list[str] = []

    def create(name: str, text: str) -> str:
        arns.append(client.create_secret(Name=name, SecretString=text)["ARN"])
        return arns[-1]

    yield create
    for arn in arns:
        client.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)


def test_settings_come_from_all_secrets_and_the_environment(
    keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later secret wins over one before it, and any secret over the environment."""
    first = keep("addresses", json.dumps({**ADDRESSES, "OPENAI_API_KEY": "sk-old"}))
    second = keep("key", json.dumps({"OPENAI_API_KEY": "sk-new"}))
    monkeypatch.setenv("SECRET_ARNS", f"{first}, {second}")
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere")
    settings = load_function_settings()
    assert settings.environment == "staging"
    assert settings.database_url == "postgresql+psycopg2://shop:s3cret-pw@db/shop"
    assert settings.redis_url == ADDRESSES["REDIS_URL"]
    assert settings.signing_secret == SIGNING_KEY
    key = OpenAISettings.of(settings).openai_api_key
    assert key is not None
    assert key.get_secret_value() == "sk-new"
    assert "s3cret" not in repr(settings)
    assert load_function_database().database_url == settings.database_url


def test_without_secrets_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a developer's machine: no request is sent."""
    monkeypatch.setenv("SECRET_ARNS", "")
    for name, value in ADDRESSES.items():
        monkeypatch.setenv(name, value)
    assert load_function_settings().redis_url == ADDRESSES["REDIS_URL"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("s3cret, but no JSON", "is not a JSON object of settings"),
        ('["s3cret"]', "is not a JSON object of settings"),
        ('{"DATABASE_URL": "mysql://u:s3cret@h/d"}', "DATABASE_URL must begin with postgresql://"),
        ('{"SIGNING_KEY": "s3cret"}', "DATABASE_URL is not set; REDIS_URL is not set"),
    ],
)
def test_a_secret_that_does_not_fit_is_one_line_without_its_text(
    keep: Keep, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    """The line names the secret, or the setting in it."""
    monkeypatch.setenv("SECRET_ARNS", keep("wrong", text))
    with pytest.raises(ConfigurationError) as caught:
        load_function_settings()
    message = str(caught.value)
    assert message.startswith("settings: ")
    assert says in message
    assert "\n" not in message
    assert "s3cret" not in message


def test_a_secret_that_is_not_there_is_one_line_that_names_it(
    keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the word that AWS has for it."""
    arn = keep("here", "{}").replace("here", "gone")
    monkeypatch.setenv("SECRET_ARNS", arn)
    with pytest.raises(ConfigurationError, match=r"secret gone.* ResourceNotFoundException$"):
        load_function_settings()


def test_secrets_manager_that_does_not_answer_is_one_line(
    keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as from a subnet without a way out."""
    monkeypatch.setenv("SECRET_ARNS", keep("unseen", "{}"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match=r"secret unseen.* EndpointConnectionError$"):
        load_function_settings()


@pytest.mark.parametrize("function", ["worker", "api", "reaper"])
def test_a_function_starts_with_what_the_secret_holds(keep: Keep, aws: str, function: str) -> None:
    """Its environment names the secret and no address."""
    arn = keep(f"of-{function}", json.dumps(ADDRESSES))
    environment = {
        **AWS, "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws, "SECRET_ARNS": arn,
        "AWS_LAMBDA_FUNCTION_NAME": function, "ENVIRONMENT": "staging", "AI_MOCK_MODE": "true",
    }  # fmt: skip
    program = (
        f"import functions.{function} as f;"
        " s = getattr(f, 'settings', None) or f.container.settings; print(s.redis_url)"
    )
    done = run("-c", program, **environment)
    assert done.stdout == ADDRESSES["REDIS_URL"] + "\n", done.stderr
