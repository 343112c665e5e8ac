"""docker-compose.yml agrees with the code: every setting, the limits, and who waits for whom."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from devkit.secret_folder import GIVEN_ONLY, MADE_UP
from shared.adapters.celery_broker import JOB_QUEUE, MAINTENANCE_QUEUE
from shared.setting_types import GATEWAY
from shared.settings import Settings
from tests.support.builders import build_settings

PROJECT = Path(__file__).parents[2]
MAPPED = re.compile(r"\$\{(?P<name>[A-Z_]+):-(?P<default>[^}]*)\}")

OF_THE_CONTAINERS = {
    "DATABASE_URL": "${DATABASE_URL:-postgresql://darkroom@postgres:5432/darkroom}",
    "REDIS_URL": "${REDIS_URL-redis://redis:6379/0}",
    "REDIS_URL_FILE": "/run/secrets/redis_url",
    "DATABASE_PASSWORD_FILE": "/run/secrets/database_password",
    "SIGNING_KEY_FILE": "/run/secrets/signing_key",
    "OPENAI_API_KEY_FILE": "/run/secrets/openai_api_key",
    "API_HOST": "0.0.0.0",  # noqa: S104 - of the container; its port is published on loopback
    "API_PORT": "8000",
    "TRUSTED_NETWORKS": f"${{TRUSTED_NETWORKS:-{GATEWAY}}}",
    "IMAGE_DIR": "/var/lib/darkroom/images",
    "HEARTBEAT_FILE": "/tmp/heartbeat",  # noqa: S108 - the container's own
}
"""What stands otherwise in a container than elsewhere."""

ABSENT = {
    "DATABASE_PASSWORD": "a secret: by file",
    "SIGNING_KEY": "a secret: by file",
    "OPENAI_API_KEY": "a secret: by file",
    "AWS_LAMBDA_FUNCTION_NAME": "no function runs here",
    "SECRET_ARNS": "only functions read it",
    "SECRETS_VERSION": "only functions are told it",
}

OF_BOTO3 = {
    "AWS_DEFAULT_REGION": None,
    "AWS_ENDPOINT_URL_S3": None,
    "AWS_SHARED_CREDENTIALS_FILE": "/run/secrets/aws_credentials",
}
"""No settings: boto3 reads them by itself, where there is an IMAGE_BUCKET or a QUEUE_URL."""

OUTSIDE = {"AWS_SHARED_CREDENTIALS_FILE": "BUCKET_CREDENTIALS_FILE"}
"""What bears another name on this machine."""

HAND_BACK_SECONDS = 30
"""What a worker may need after its grace: see the worker's stop_grace_period."""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """Give the file as compose reads it."""
    loaded: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    return loaded


@pytest.fixture(scope="module")
def environment(compose: dict[str, Any]) -> dict[str, str | None]:
    """Give the settings of the containers."""
    variables: dict[str, str | None] = compose["x-darkroom"]["environment"]
    return {name: value for name, value in variables.items() if name not in OF_BOTO3}


def test_every_setting_is_there_and_no_other(environment: dict[str, str | None]) -> None:
    """A new setting that compose does not know could not be set there."""
    names = {name.upper() for name in Settings.model_fields}
    assert set(environment) == names - set(ABSENT)
    assert set(ABSENT) <= names


def test_a_setting_is_handed_on_and_its_default_left_to_the_code(
    environment: dict[str, str | None],
) -> None:
    """Unless it is another one in a container."""
    given = {name: value for name, value in environment.items() if value is not None}
    assert given == OF_THE_CONTAINERS


def test_boto3_is_told_what_it_needs_for_a_bucket(compose: dict[str, Any]) -> None:
    """By its own names, none of which is a setting of ours; credentials by file alone."""
    variables = compose["x-darkroom"]["environment"]
    assert {name: variables[name] for name in OF_BOTO3} == OF_BOTO3
    assert {name for name in variables if name.startswith("AWS_")} == set(OF_BOTO3)
    assert not {name.lower() for name in OF_BOTO3} & set(Settings.model_fields)


def test_a_secret_comes_from_the_file_that_its_variable_names(compose: dict[str, Any]) -> None:
    """On this machine; from an empty one where none is named.

    A variable that a shell has for something else would hand over what nobody meant to give.
    """
    variables = compose["x-darkroom"]["environment"]
    for name, source in compose["secrets"].items():
        [variable] = [key for key, value in variables.items() if value == f"/run/secrets/{name}"]
        outside = OUTSIDE.get(variable, variable)
        assert not outside.startswith("AWS_")
        assert source == {"file": f"${{{outside}:-./docker/not-given}}"}
    assert (PROJECT / "docker/not-given").read_text() == ""


def test_no_secret_stands_in_the_environment_of_a_container(compose: dict[str, Any]) -> None:
    """Whoever may inspect a container sees its environment."""
    for service in compose["services"].values():
        for name in service.get("environment", {}):
            assert name.endswith("_FILE") or not re.search("PASSWORD|KEY$|SECRET", name), name
    assert set(compose["secrets"]) == {*MADE_UP, *GIVEN_ONLY}
    assert set(compose["services"]["secrets"]["secrets"]) == set(compose["secrets"])


def test_a_server_that_is_not_ours_is_given_no_secret_but_its_own(compose: dict[str, Any]) -> None:
    """PostgreSQL has its password, Redis nothing; whoever runs our image has all."""
    whole = "secrets:/run/secrets:ro"
    for name, service in compose["services"].items():
        mounted = [mount for mount in service["volumes"] if "secret" in mount or "passw" in mount]
        if name == "secrets":
            assert mounted == ["secrets:/secrets", "database_password:/database"]
        elif name == "postgres":
            assert mounted == ["database_password:/run/secrets:ro"]
        else:
            assert mounted == ([] if name == "redis" else [whole]), name


def test_the_image_is_built_once_and_never_looked_for_elsewhere(compose: dict[str, Any]) -> None:
    """Nobody waits for a registry, nor runs what it has under the same name."""
    services = compose["services"].values()
    [built] = [service for service in services if "build" in service]
    ours = [service for service in services if service["image"] == built["image"]]
    assert len(ours) == len(compose["services"]) - len(("redis", "postgres"))
    assert {service["pull_policy"] for service in ours} == {"never"}


def test_only_this_machine_reaches_a_port(compose: dict[str, Any]) -> None:
    """TRUSTED_NETWORKS trusts the gateway for this reason alone."""
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_a_worker_has_time_to_hand_its_jobs_back(compose: dict[str, Any]) -> None:
    """SIGKILL comes after the grace for provider calls and what follows it."""
    mapped = MAPPED.fullmatch(compose["services"]["worker"]["stop_grace_period"])
    assert mapped is not None
    seconds = float(mapped["default"].removesuffix("s"))
    assert seconds >= build_settings().shutdown_grace_seconds + HAND_BACK_SECONDS


def test_whoever_serves_is_watched_and_comes_back(compose: dict[str, Any]) -> None:
    """What runs once does neither."""
    for name, service in compose["services"].items():
        if service["restart"] == "no":
            assert name in ("secrets", "migrate")
            assert "healthcheck" not in service
        else:
            assert service["restart"] == "unless-stopped"
            assert service["healthcheck"]["test"]


def test_servers_are_there_before_whoever_needs_them(compose: dict[str, Any]) -> None:
    """Secrets, then PostgreSQL, then the migration, then everybody else."""
    services = compose["services"]
    done, healthy = (
        {"condition": f"service_{word}"} for word in ("completed_successfully", "healthy")
    )
    assert services["postgres"]["depends_on"] == {"secrets": done}
    assert services["migrate"]["depends_on"] == {"postgres": healthy}
    for name in ("api", "worker", "beat", "flower"):
        assert services[name]["depends_on"] == {"migrate": done, "redis": healthy}


def test_redis_forgets_nothing(compose: dict[str, Any]) -> None:
    """An evicted queue or stream would be lost work; the file outlives the process."""
    command = " ".join(compose["services"]["redis"]["command"])
    for option in ("--appendonly yes", "--maxmemory-policy noeviction", "--maxmemory 256mb"):
        assert option in command
    assert "redis:/data" in compose["services"]["redis"]["volumes"]


def test_a_worker_takes_jobs_and_maintenance(compose: dict[str, Any]) -> None:
    """Its command names no queue: then it consumes all that the application has."""
    command = compose["services"]["worker"]["command"]
    assert not {"-Q", "--queues"} & set(command)
    source = (PROJECT / "local" / "celery_app.py").read_text()
    assert "for name in (JOB_QUEUE, MAINTENANCE_QUEUE)" in source
    assert (JOB_QUEUE, MAINTENANCE_QUEUE) == ("image_generation", "default")


def test_the_image_is_built_from_hashes_and_runs_without_root() -> None:
    """And every command is a list, so that signals reach the program itself."""
    dockerfile = (PROJECT / "Dockerfile").read_text()
    final = dockerfile.rpartition("\nFROM ")[2]
    for install in re.findall(r"pip (?:--python \S+ )?install (?:[^&]|&(?!&))*", dockerfile):
        assert "--require-hashes" in install or "--no-index" in install
    assert re.search(r"^USER darkroom$", final, re.MULTILINE)
    assert re.search(r"^CMD \[", final, re.MULTILINE)


def test_every_command_is_a_list(compose: dict[str, Any]) -> None:
    """A shell in between would keep the signal to itself."""
    commands = [service.get("command", []) for service in compose["services"].values()]
    assert all(isinstance(command, list) for command in commands)
