"""docker-compose.yml as it is written: settings, secrets and the image."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from devkit.secret_folder import GIVEN_ONLY, MADE_UP
from shared.setting_types import GATEWAY
from shared.settings import Settings
from tests.support.deployment_settings import SECRETS

PROJECT = Path(__file__).parents[2]

OF_THE_CONTAINERS = {
    "DATABASE_URL": "${DATABASE_URL:-postgresql://darkroom@postgres:5432/darkroom}",
    "REDIS_URL": "${REDIS_URL-redis://redis:6379/0}",
    **{f"{name.upper()}_FILE": f"/run/secrets/{name}" for name in SECRETS},
    "API_HOST": "0.0.0.0",  # noqa: S104 - of the container; its port is published on loopback
    "API_PORT": "8000",
    "TRUSTED_NETWORKS": f"${{TRUSTED_NETWORKS:-{GATEWAY}}}",
    "IMAGE_DIR": "/var/lib/darkroom/images",
    "HEARTBEAT_FILE": "/tmp/heartbeat",  # noqa: S108 - the container's own
}
"""What stands otherwise in a container than elsewhere."""

CREDENTIALS = "/run/secrets/aws_credentials"
OF_BOTO3 = {
    "AWS_DEFAULT_REGION": None,
    "AWS_ENDPOINT_URL_S3": None,
    "AWS_SHARED_CREDENTIALS_FILE": CREDENTIALS,
}
"""No settings: boto3 reads them by itself, where there is an IMAGE_BUCKET or a QUEUE_URL."""

OUTSIDE = {"AWS_SHARED_CREDENTIALS_FILE": "BUCKET_CREDENTIALS_FILE"}
"""What bears another name on this machine."""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """Give the file as it is written."""
    loaded: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    return loaded


def test_a_setting_is_handed_on_and_its_default_left_to_the_code(compose: dict[str, Any]) -> None:
    """Unless it is another one in a container."""
    variables = compose["x-darkroom"]["environment"].items()
    given = {name: value for name, value in variables if value is not None}
    assert given == {**OF_THE_CONTAINERS, "AWS_SHARED_CREDENTIALS_FILE": CREDENTIALS}


def test_boto3_is_given_what_it_needs_for_a_bucket(compose: dict[str, Any]) -> None:
    """By its own names, none of which is a setting of ours; credentials by file alone."""
    variables = compose["x-darkroom"]["environment"]
    assert {name: variables[name] for name in OF_BOTO3} == OF_BOTO3
    assert {name for name in variables if name.startswith("AWS_")} == set(OF_BOTO3)
    assert not {name.lower() for name in OF_BOTO3} & set(Settings.model_fields)


def test_a_secret_comes_from_the_file_that_its_variable_names(compose: dict[str, Any]) -> None:
    """On this machine; from an empty one where none is named.

    A variable that a shell has for another purpose would reach the containers by accident.
    """
    variables = compose["x-darkroom"]["environment"]
    for name, source in compose["secrets"].items():
        [variable] = [key for key, value in variables.items() if value == f"/run/secrets/{name}"]
        outside = OUTSIDE.get(variable, variable)
        assert not outside.startswith("AWS_")
        assert source == {"file": f"${{{outside}:-./docker/not-given}}"}
    assert (PROJECT / "docker/not-given").read_text() == ""


def test_no_secret_stands_in_the_environment_of_a_container(compose: dict[str, Any]) -> None:
    """A user who may inspect a container sees its environment."""
    for service in compose["services"].values():
        for name in service.get("environment", {}):
            assert name.endswith("_FILE") or not re.search("PASSWORD|KEY$|SECRET", name), name
    assert set(compose["secrets"]) == {*MADE_UP, *GIVEN_ONLY}
    assert set(compose["services"]["secrets"]["secrets"]) == set(compose["secrets"])


def test_a_server_that_is_not_ours_is_given_no_secret_but_its_own(compose: dict[str, Any]) -> None:
    """PostgreSQL has its password, Redis none, and our own services all of them."""
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
    """No service waits for a registry, or runs what it has under the same name."""
    services = compose["services"].values()
    [built] = [service for service in services if "build" in service]
    ours = [service for service in services if service["image"] == built["image"]]
    assert len(ours) == len(compose["services"]) - len(("redis", "postgres"))
    assert {service["pull_policy"] for service in ours} == {"never"}


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
