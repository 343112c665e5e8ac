"""docker-compose.yml as it is written: settings, secrets and the image."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from devkit.secret_folder import GIVEN_ONLY, KEPT, MADE_UP, SECRETS_OF
from shared.setting_types import GATEWAY
from shared.settings import Settings
from tests.support.deployment_settings import SECRETS

PROJECT = Path(__file__).parents[2]

OF_THE_CONTAINERS = {
    "DATABASE_URL": "${DATABASE_URL:-postgresql://darkroom@postgres:5432/darkroom}",
    "REDIS_URL": "${REDIS_URL-redis://redis:6379/0}",
    "API_HOST": "0.0.0.0",  # noqa: S104 - of the container; its port is published on loopback
    "API_PORT": "8000",
    "TRUSTED_NETWORKS": f"${{TRUSTED_NETWORKS:-{GATEWAY}}}",
    "IMAGE_DIR": "/var/lib/darkroom/images",
    "HEARTBEAT_FILE": "/tmp/heartbeat",  # noqa: S108 - the container's own
    "METRICS_HOST": "0.0.0.0",  # noqa: S104 - of the container; its port is not published
    "METRICS_PORT": "9464",
}
"""What stands otherwise in a container than elsewhere."""

OF_BOTO3 = {"AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3", "AWS_SHARED_CREDENTIALS_FILE"}
"""No settings: boto3 reads them by itself, where there is an IMAGE_BUCKET or a QUEUE_URL."""

VARIABLES = {
    **{name: f"{name.upper()}_FILE" for name in SECRETS},
    "aws_credentials": "AWS_SHARED_CREDENTIALS_FILE",
}
"""The variable that names the file of each secret in a container."""

OUTSIDE = {
    **VARIABLES,
    # A shell has AWS_SHARED_CREDENTIALS_FILE for all that its owner may do on AWS.
    "aws_credentials": "BUCKET_CREDENTIALS_FILE",
    "ca.pem": "CA_FILE",
}
"""The same on this machine."""

FOREIGN = {"redis", "postgres", "prometheus", "grafana"}
"""Services of other images."""

FOLDERS = {"flower": "beat"}
"""Which secrets a service has, if not those of its name."""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """Give the file as it is written."""
    loaded: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    return loaded


def test_a_setting_is_handed_on_and_its_default_left_to_the_code(compose: dict[str, Any]) -> None:
    """Unless it is another one in a container."""
    variables = compose["x-darkroom"]["environment"].items()
    given = {name: value for name, value in variables if value is not None}
    assert given == OF_THE_CONTAINERS


def test_boto3_is_given_what_it_needs_for_a_bucket(compose: dict[str, Any]) -> None:
    """By its own names, none of which is a setting of ours; credentials by file alone."""
    for name in ("api", "worker"):
        variables = compose["services"][name]["environment"]
        assert {name for name in variables if name.startswith("AWS_")} == OF_BOTO3
    assert not {name.lower() for name in OF_BOTO3} & set(Settings.model_fields)


def test_a_secret_comes_from_the_file_that_its_variable_names(compose: dict[str, Any]) -> None:
    """On this machine; from an empty one where none is named."""
    assert set(compose["secrets"]) == {*MADE_UP, *GIVEN_ONLY} == set(OUTSIDE)
    assert set(compose["services"]["secrets"]["secrets"]) == set(OUTSIDE)
    for name, variable in OUTSIDE.items():
        assert compose["secrets"][name] == {"file": f"${{{variable}:-./docker/not-given}}"}
    assert (PROJECT / "docker/not-given").read_text() == ""


def test_another_file_of_a_secret_starts_its_services_anew(compose: dict[str, Any]) -> None:
    """By a label that names all of them: compose looks at no path of a secret."""
    for name, service in compose["services"].items():
        named = set(
            re.findall(r"\$\{(\w+):-\}", service.get("labels", {}).get("darkroom.secrets", ""))
        )
        assert named == (set() if name in FOREIGN else set(OUTSIDE.values())), name


def test_no_secret_stands_in_the_environment_of_a_container(compose: dict[str, Any]) -> None:
    """A user who may inspect a container sees its environment."""
    for service in compose["services"].values():
        for name in service.get("environment", {}):
            assert name.endswith("_FILE") or not re.search("PASSWORD|KEY$|SECRET", name), name


def test_each_service_has_its_own_secrets_alone(compose: dict[str, Any]) -> None:
    """The API no key of a provider, the worker none that signs, Redis and Flower no password."""
    volumes = {
        mount.partition("/secrets/")[2]: mount.partition(":")[0]
        for mount in compose["services"]["secrets"]["volumes"]
    }
    assert set(volumes) == {KEPT, *SECRETS_OF}
    for name, service in compose["services"].items():
        mounts = [mount for mount in service["volumes"] if "/run/secrets" in mount]
        folder = FOLDERS.get(name, name)
        if folder not in SECRETS_OF:
            assert mounts == [], name
            continue
        assert mounts == [f"{volumes[folder]}:/run/secrets:ro"], name
        expected = {
            VARIABLES[secret]: secret for secret in SECRETS_OF[folder] if secret in VARIABLES
        }
        variables = service["environment"].items()
        given = {
            key: str(value).rpartition("/")[2]
            for key, value in variables
            if "/run/secrets" in str(value)
        }
        assert name == "postgres" or given == expected, name


def test_the_image_is_built_once_and_never_looked_for_elsewhere(compose: dict[str, Any]) -> None:
    """No service waits for a registry, or runs what it has under the same name."""
    services = compose["services"].values()
    [built] = [service for service in services if "build" in service]
    ours = [service for service in services if service["image"] == built["image"]]
    assert len(ours) == len(compose["services"]) - len(FOREIGN)
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


def test_prometheus_reads_what_the_containers_serve(compose: dict[str, Any]) -> None:
    """By the names of the services, on the port of the settings, with the alerts of the docs."""
    folder = PROJECT / "docs/dashboards"
    config = yaml.safe_load((folder / "prometheus.yml").read_text())
    [scraped] = [one for job in config["scrape_configs"] for one in job["dns_sd_configs"]]
    assert {*scraped["names"]} <= set(compose["services"])
    assert str(scraped["port"]) == compose["x-darkroom"]["environment"]["METRICS_PORT"]
    assert all((folder / name).is_file() for name in config["rule_files"])
    services = compose["services"]
    assert (
        f"{folder.relative_to(PROJECT)}:/etc/prometheus:ro" in services["prometheus"]["volumes"][0]
    )
    [source] = yaml.safe_load((folder / "grafana/datasources/darkroom.yml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    for name in ("prometheus", "grafana"):
        assert services[name]["profiles"] == ["monitoring"]
