"""The generated parts of docs, docker-compose.yml and template.yaml: `make docs` writes them.

They come from the code, and a test compares them. The table of parity comes from a run of
`darkroom parity --markdown`, which takes minutes: `make docs PARITY=1` writes it.
"""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer
import yaml
from pydantic_core import PydanticUndefined

from cli.app import app
from cli.doctor.command import RULES
from shared.imaging.providers.declaration import ANY
from shared.imaging.providers.mock_scripts import SCRIPTS, ScriptTag
from shared.imaging.providers.registry import BUILT_IN
from shared.imaging.request import ImageOrder
from shared.settings import Settings
from tests.support.images_api import FAULTS

PROJECT = Path(__file__).resolve().parents[2]
DOCS = PROJECT / "docs"
REFERENCE = DOCS / "reference"
COMPOSE = PROJECT / "docker-compose.yml"
TEMPLATE = PROJECT / "template.yaml"

OF_FUNCTIONS = {"AWS_LAMBDA_FUNCTION_NAME", "SECRET_ARNS", "SECRETS_VERSION"}
"""Settings that only Lambda functions read."""


@dataclass(frozen=True)
class Section:
    """What stands between two marks of a file.

    Attributes:
        write: Returns the section's lines, given the text of the file.
    """

    file: Path
    name: str
    write: Callable[[str], Sequence[str]]

    def applied_to(self, text: str) -> str:
        """Return the text of the file with this section as the code has it."""
        return replace_section(text, self.name, "\n".join(self.write(text)))


def replace_section(text: str, name: str, content: str) -> str:
    """Return the text with the content between the marks of a section replaced.

    A mark is a comment of Markdown or of YAML, on a line of its own.
    """
    begin, end = rf"^.*{name}: begin \(make docs\).*\n", rf"^.*{name}: end"
    pattern = re.compile(rf"({begin})(?:.*\n)*?({end})", re.MULTILINE)
    assert pattern.search(text), f"no marks of the section {name}"
    body = f"{content}\n" if content else ""
    return pattern.sub(lambda marks: f"{marks[1]}{body}{marks[2]}", text)


def settings_table(_text: str) -> list[str]:
    """Return the table of all settings, in the order of the code."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = _show(field.default)
        lines.append(f"| `{name.upper()}` | {default} | {field.description} |")
    return lines


def _show(default: Any) -> str:
    if default is PydanticUndefined or default in (None, ()):
        return ""
    if isinstance(default, tuple):
        return f"`{','.join(map(str, default))}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def scripts_table(_text: str) -> list[str]:
    """Return the table of all tags that the mock provider obeys."""
    lines = ["| tag | what happens | `error.code` | the number | without one |", "|---" * 5 + "|"]
    for tag in SCRIPTS:
        unit = f"{tag.unit}, at most {tag.most:g}" if tag.unit else ""
        code = f"`{tag.code}`" if tag.code else ""
        lines.append(f"| `{tag.example}` | {tag.meaning} | {code} | {unit} | {_default_of(tag)} |")
    return lines


def _default_of(tag: ScriptTag) -> str:
    if not tag.unit:
        return ""
    if math.isinf(tag.default):
        return "every attempt" if tag.unit == "attempts" else "for ever"
    return f"{tag.default:g}"


def faults_table(_text: str) -> list[str]:
    """Return the table of all faults of the server that stands in for a provider."""
    rows = [f"| `<<{name}>>` | {meaning} |" for name, (meaning, _) in FAULTS.items()]
    return ["| fault | what the client meets |", "|---|---|", *rows]


def provider_errors_table(_text: str) -> list[str]:
    """Return the error tables of all providers."""
    lines = [
        "| provider | what it answers | code | stage | tried again | charge |",
        "|---|---|---|---|---|---|",
    ]
    for provider in BUILT_IN:
        for rule in provider.errors:
            again = "yes" if rule.kind.retryable else "no"
            known = f"`{rule.kind.code}` | {rule.kind.stage or ''} | {again}"
            lines.append(f"| {provider.name} | {rule.when} | {known} | {rule.charge.value} |")
    return lines


def models_table(_text: str) -> list[str]:
    """Return what the models of all providers offer."""
    names = ("quality", "background", "output_format", "moderation")
    head = (
        "provider",
        "model",
        "sizes",
        "images a call",
        "previews",
        "reference pictures",
        "mask",
        *names,
    )
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for provider in BUILT_IN:
        for offer in provider.offers:
            free = () if offer.free_sizes is None else (str(offer.free_sizes),)
            cells = (
                *(provider.name, f"`{offer.model}`", ", ".join((*offer.sizes, *free))),
                *(str(offer.images_max), str(offer.previews_max or "no")),
                *(str(offer.references_max or "no"), "yes" if offer.takes_mask else "no"),
                *(_choices(offer.qualities), _choices(offer.backgrounds)),
                *(_choices(offer.output_formats), _choices(offer.moderations)),
            )
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _choices(values: Sequence[str]) -> str:
    return ("any" if tuple(values) == ANY else ", ".join(values)) or "no"


def units_table(_text: str) -> list[str]:
    """Return the units that receipts name."""
    rows = [
        f"| {provider.name} | `{unit}` | {meaning} |"
        for provider in BUILT_IN
        for unit, meaning in provider.units.items()
    ]
    return ["| provider | unit | what it counts |", "|---|---|---|", *rows]


def rules_table(_text: str) -> list[str]:
    """Return the table of all rules of `darkroom doctor`, in its order."""
    rows = [f"| `{rule.name}` | {rule.title} | {rule.mend} |" for rule in RULES]
    return ["| rule | what must hold | how to mend it |", "|---|---|---|", *rows]


def compose_settings(text: str) -> list[str]:
    """Return a line of docker-compose.yml for each setting that it hands on as it is.

    A secret is not among them (containers read it from a file), nor a setting that has a line
    of its own because it differs in a container.
    """
    by_hand = yaml.safe_load(replace_section(text, "settings", ""))["x-darkroom"]["environment"]
    fields = Settings.model_fields
    secrets = {name.removesuffix("_file") for name in fields if name.endswith("_file")} & {*fields}
    names = [
        name.upper()
        for name in fields
        if not ({name, name.removesuffix("_file")} & secrets) and name.upper() not in by_hand
    ]
    return [f"    {name}:" for name in names if name not in OF_FUNCTIONS]


def time_limit(_text: str) -> list[str]:
    """Return the line of template.yaml that ends the worker at the hard limit."""
    return [f"      Timeout: {_default_of_setting('time_limit'):g}"]


def visibility(_text: str) -> list[str]:
    """Return the line of template.yaml that hides a message for six times as long."""
    return [f"      VisibilityTimeout: {6 * _default_of_setting('time_limit'):g}"]


def concurrency(_text: str) -> list[str]:
    """Return the line of template.yaml that bounds the jobs at once; the queue needs a number."""
    return [f"    Default: {_default_of_setting('lambda_concurrency'):g}"]


def _default_of_setting(name: str) -> float:
    default: float = Settings.model_fields[name].default
    return default


_ASK = """
import json, sys
from functions.api import handler

event = json.load(open(sys.argv[1]))
event["rawPath"] = event["requestContext"]["http"]["path"] = sys.argv[2]
print(handler(event, None)["body"])
"""


@cache
def _answer_of_api(path: str) -> Mapping[str, Any]:
    """Return what the API answers to a GET that needs no server."""
    environment = {
        "DATABASE_URL": "postgresql://localhost/darkroom",
        "REDIS_URL": "redis://localhost",
        "QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/1/queue",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "ENVIRONMENT": "local",
        "LOG_LEVEL": "ERROR",
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(
        [sys.executable, "-c", _ASK, "events/api-get.json", path],
        cwd=PROJECT,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    answer: Mapping[str, Any] = json.loads(done.stdout)
    return answer


def routes_table(_text: str) -> list[str]:
    """Return the table of all routes, as the OpenAPI document has them."""
    lines = ["| route | scopes | what it does | answers |", "|---|---|---|---|"]
    for path, operations in _answer_of_api("/openapi.json")["paths"].items():
        for method, operation in operations.items():
            answers = ", ".join(sorted(operation["responses"]))
            scopes = ", ".join(operation.get("security", [{}])[0].get("ApiKey", ()))
            shown = f"{scopes} | {operation['summary']} | {answers}"
            lines.append(f"| `{method.upper()} {path}` | {shown} |")
    return lines


def request_table(_text: str) -> list[str]:
    """Return the table of the fields of a request."""
    order = ImageOrder.model_json_schema()
    lines = ["| field | default | meaning |", "|---|---|---|"]
    for name, field in order["properties"].items():
        needed = "required" if name in order["required"] else _as_json(field.get("default"))
        lines.append(f"| `{name}` | {needed} | {field['description']} |")
    return lines


def _as_json(value: object) -> str:
    return "" if value in (None, {}) else f"`{json.dumps(value)}`"


def codes_table(_text: str) -> list[str]:
    """Return the table of all codes that the error of a job may have."""
    lines = ["| code | meaning | retried |", "|---|---|---|"]
    for error in _answer_of_api("/v1/options")["errors"]:
        retried = "yes" if error["retryable"] else "no"
        lines.append(f"| `{error['code']}` | {error['title']} | {retried} |")
    return lines


def commands_text(_text: str) -> list[str]:
    """Return a part for each command of `darkroom`, in their order."""
    return [line for name, command in _commands() for line in _part_of(name, command)]


def _commands() -> Iterator[tuple[str, Any]]:
    for name, command in getattr(typer.main.get_command(app), "commands", {}).items():
        inner = getattr(command, "commands", {})
        yield from ((f"{name} {word}", found) for word, found in inner.items())
        if not inner:
            yield name, command


def _part_of(name: str, command: Any) -> Iterator[str]:
    arguments = [item for item in command.params if item.param_type_name == "argument"]
    words = [item.metavar or item.name.upper() for item in arguments]
    yield from (f"## `{' '.join(['darkroom', name, *words])}`", "")
    yield from (*command.help.strip().splitlines(), "")
    options = [item for item in command.params if item.param_type_name == "option"]
    if options:
        yield from ("| option | default | meaning |", "|---|---|---|")
        yield from (_row_of(item) for item in options)
        yield ""


def _row_of(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    default = getattr(option.default, "value", option.default)
    shown = "" if default in (None, False, (), []) or callable(default) else f"`{default}`"
    return f"| {names} | {shown} | {option.help} |"


def parity_table(_text: str) -> list[str]:
    """Return the table that `darkroom parity` prints after it has run all scenarios."""
    command = [sys.executable, "-m", "cli", "parity", "--markdown"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip().splitlines()


SECTIONS = (
    Section(REFERENCE / "settings.md", "settings", settings_table),
    Section(REFERENCE / "http.md", "routes", routes_table),
    Section(REFERENCE / "http.md", "request", request_table),
    Section(REFERENCE / "errors.md", "codes", codes_table),
    Section(REFERENCE / "cli.md", "commands", commands_text),
    Section(REFERENCE / "scenarios.md", "scripts", scripts_table),
    Section(REFERENCE / "scenarios.md", "faults", faults_table),
    Section(DOCS / "providers.md", "errors", provider_errors_table),
    Section(DOCS / "providers.md", "units", units_table),
    Section(DOCS / "providers.md", "models", models_table),
    Section(DOCS / "doctor.md", "rules", rules_table),
    Section(COMPOSE, "settings", compose_settings),
    Section(TEMPLATE, "time limit", time_limit),
    Section(TEMPLATE, "visibility", visibility),
    Section(TEMPLATE, "concurrency", concurrency),
)
PARITY = Section(REFERENCE / "parity.md", "parity", parity_table)


def main() -> None:
    """Write all sections; that of parity only if the variable PARITY is set."""
    for section in (*SECTIONS, PARITY) if os.environ.get("PARITY") else SECTIONS:
        text = section.file.read_text()
        section.file.write_text(section.applied_to(text))


if __name__ == "__main__":
    main()
