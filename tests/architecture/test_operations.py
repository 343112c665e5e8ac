"""docs/operations.md names only what there is: settings, parameters, alarms, commands, services."""

import re
from collections.abc import Iterator
from io import StringIO

import pytest
import typer
import yaml
from dotenv import dotenv_values

from cli.app import app
from shared import errors
from shared.settings import ClientSettings, Settings
from tests.support.template import DATA_TEMPLATE, PROJECT, read_template

PAGE = PROJECT / "docs" / "operations.md"
TEXT = PAGE.read_text()
COMPOSE = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
SPANS = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", TEXT, flags=re.M | re.S))
CODE = [
    *SPANS,
    *"\n".join(re.findall(r"^```sh\n(.*?)^```$", TEXT, flags=re.M | re.S)).splitlines(),
]
"""What stands in backticks, and each line that is to be pasted."""

ALERTS = {
    rule["alert"]
    for group in yaml.safe_load((PROJECT / "docs/dashboards/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}

OF_OTHERS = {
    *("AWS_REGION", "AWS_DEFAULT_REGION", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"),
    *("CREATE_FAILED", "ROLLBACK_FAILED", "REDISCLI_AUTH"),
    *("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_TRACES_SAMPLER"),
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    *(
        "MaxAllocatedStorage",
        "AmazonSSMManagedInstanceCore",
        "StartMessageMoveTask",
        "FunctionError",
        *("JobsFailed", "FreeStorageSpace"),
        *("DatabaseMemoryUsagePercentage",),
    ),
}
"""Names of AWS, of its properties, of redis-cli, and of OpenTelemetry's SDK."""

NOT_IN_A_ROW = {"lease_lost"}
"""Codes that no row holds: another attempt owns the job."""


def named(pattern: str) -> set[str]:
    """Return what the commands and names of the page hold of this."""
    found = {match.group(1) for line in CODE for match in re.finditer(pattern, line)}
    assert found, pattern
    return found


def commands(group: typer.Typer = app) -> Iterator[str]:
    """Yield every command of the command line, as it is typed after `darkroom`."""
    for name, command in typer.main.get_command(group).commands.items():  # type: ignore[attr-defined]
        yield name
        yield from (f"{name} {inner}" for inner in getattr(command, "commands", ()))


def test_every_setting_is_one() -> None:
    """Or a variable of docker-compose.yml, of the Dockerfile, or of AWS."""
    fields = {*Settings.model_fields, *ClientSettings.model_fields}
    of_compose = set(re.findall(r"\$\{([A-Z_]+)", (PROJECT / "docker-compose.yml").read_text()))
    of_compose |= set(re.findall(r"^ARG (\w+)", (PROJECT / "Dockerfile").read_text(), re.MULTILINE))
    known = {name.upper() for name in fields} | of_compose | OF_OTHERS
    assert named(r"\b([A-Z]+(?:_[A-Z]+)+)\b") <= known


def test_the_env_file_says_what_it_looks_like() -> None:
    """A remark behind an empty value would be the value."""
    [block] = re.findall(r"^```sh\n(ENVIRONMENT=.*?)^```$", TEXT, flags=re.M | re.S)
    values = dotenv_values(stream=StringIO(block))
    assert values["REDIS_URL"] == ""
    assert not [name for name, value in values.items() if value is None or "#" in value]


def test_every_alarm_has_its_line() -> None:
    """In the table of the runbook, and no other has one."""
    templates = (read_template(), read_template(DATA_TEMPLATE))
    resources = [item for one in templates for item in one["Resources"].items()]
    alarms = {name for name, found in resources if found["Type"] == "AWS::CloudWatch::Alarm"}
    assert set(re.findall(r"`(\w+Alarm)`", TEXT)) == alarms


def test_every_part_of_the_template_is_there() -> None:
    """Its parameters, resources and outputs, by the names that the page gives them."""
    own, data = read_template(), read_template(DATA_TEMPLATE)
    known = {
        name
        for template in (own, data)
        for part in ("Parameters", "Resources", "Outputs")
        for name in template[part]
    }
    spans = {re.sub(r"=.*", "", span) for span in SPANS}
    words = {span for span in spans if re.fullmatch(r"(?:[A-Z][a-z0-9]+){2,}", span)}
    assert "WorkerConcurrency" in words
    assert words <= known | ALERTS | OF_OTHERS
    nested = set(re.findall(r'output (\w+) "\$data"', TEXT))
    assert nested <= set(data["Outputs"])
    assert named(r"\boutput ([A-Z]\w+)") - nested <= set(own["Outputs"])
    of_data = set(re.findall(r'resource (\w+) "\$(?:data"|\()', TEXT))
    assert of_data <= set(data["Resources"])
    assert named(r"\bresource ([A-Z]\w+)") - of_data <= set(own["Resources"])
    parameters = named(r"ParameterKey=([A-Z]\w+)")
    assert "SecretsVersion" in parameters
    assert parameters <= set(own["Parameters"])


def test_every_target_of_make_is_there() -> None:
    """Hidden ones too."""
    makefile = (PROJECT / "Makefile").read_text()
    asked = {word for line in named(r"\bmake ([^#`]+)") for word in line.split()}
    assert asked <= set(re.findall(r"^([\w./-]+):(?!=)", makefile, re.MULTILINE))


def test_every_command_is_there() -> None:
    """Of `darkroom`."""
    assert named(r"(?<![\w=/-])darkroom ((?:keys )?[a-z]+)(?![\w.])") <= set(commands())


def test_every_service_and_volume_is_there() -> None:
    """Of docker-compose.yml, wherever a command of compose names one."""
    verbs = r"docker compose (?:exec|run|logs|restart|stop)(?: --?[\w-]+(?: [0-9]+)?)* "
    assert named(rf"{verbs}([a-z]+)") <= set(COMPOSE["services"])
    [volumes] = re.findall(r"the volumes are ([^)]+)\)", TEXT)
    assert set(re.findall(r"`(\w+)`", volumes)) == set(COMPOSE["volumes"])


def test_every_error_of_a_job_has_its_line() -> None:
    """And is marked where no other attempt follows."""
    kinds: list[type[errors.DarkroomError]] = [errors.InvalidRequest, errors.ServiceUnavailable]
    kinds += errors.AttemptError.__subclasses__()
    expected = {kind.code: kind.retryable for kind in kinds if kind.code not in NOT_IN_A_ROW}
    table = TEXT.partition("### By error code")[2].partition("\n## ")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    found = {code: not mark for row in rows for code, mark in re.findall(r"`(\w+)`(\*?)", row)}
    assert found == expected


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)]+)\)", TEXT))))
def test_every_link_leads_somewhere(target: str) -> None:
    """To a page of the docs, and to a heading of it."""
    path, _, anchor = target.partition("#")
    text = (PAGE.parent / path).read_text() if path else TEXT
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-") for name in headings}
    assert not anchor or anchor in anchors


def test_every_file_is_there() -> None:
    """That a command or a sentence names."""
    files = named(r"(?<!\w)((?:events|cloud|docs)/[\w./-]+\.\w+)")
    assert not [name for name in files if not (PROJECT / name).is_file()]
