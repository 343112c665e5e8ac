"""The generated parts of README, docs and docker-compose.yml: `make readme` writes them.

They come from the code, and a test compares them; the parity table comes from a run of
`darkroom parity --markdown`.
"""

import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic_core import PydanticUndefined

from cli.doctor.gathering import RULES
from shared.imaging.scripts import SCRIPTS, ScriptTag
from shared.settings import Settings
from tests.support.images_api import FAULTS

PROJECT = Path(__file__).resolve().parents[2]
README = PROJECT / "README.md"
SCENARIOS = PROJECT / "docs" / "scenarios.md"
DOCTOR_PAGE = PROJECT / "docs" / "doctor.md"
COMPOSE = PROJECT / "docker-compose.yml"

OF_FUNCTIONS = {"AWS_LAMBDA_FUNCTION_NAME", "SECRET_ARNS", "SECRETS_VERSION"}
"""Settings that only Lambda functions read."""


def settings_table() -> str:
    """Return the table of all settings, in the order of the code."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = _show(field.default)
        lines.append(f"| `{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines)


def scripts_table() -> str:
    """Return the table of all tags that the mock provider obeys."""
    lines = ["| tag | what happens | the number | without one |", "|---|---|---|---|"]
    for tag in SCRIPTS:
        unit = f"{tag.unit}, at most {tag.most:g}" if tag.unit else ""
        lines.append(f"| `{tag.example}` | {tag.meaning} | {unit} | {_default_of(tag)} |")
    return "\n".join(lines)


def faults_table() -> str:
    """Return the table of all faults of the server that stands in for a provider."""
    rows = [f"| `<<{name}>>` | {meaning} |" for name, (meaning, _) in FAULTS.items()]
    return "\n".join(["| fault | what the client meets |", "|---|---|", *rows])


def scenarios_page(page: str) -> str:
    """Return the page of scenarios with its tables as the code has them."""
    return replace_section(
        replace_section(page, "scripts", scripts_table()), "faults", faults_table()
    )


def rules_table() -> str:
    """Return the table of all rules of `darkroom doctor`, in its order."""
    rows = [f"| `{rule.name}` | {rule.title} | {rule.mend} |" for rule in RULES]
    return "\n".join(["| rule | what must hold | how to mend it |", "|---|---|---|", *rows])


def compose_file(text: str) -> str:
    """Return docker-compose.yml with a line for each setting that it hands on as it is.

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
    lines = [f"    {name}:" for name in names if name not in OF_FUNCTIONS]
    return replace_section(text, "settings", "\n".join(lines))


def replace_section(page: str, name: str, content: str) -> str:
    """Return the text with the content between the marks of a section replaced.

    A mark is a comment of Markdown or of YAML, on a line of its own.
    """
    begin, end = rf"^.*{name}: begin \(make readme\).*\n", rf"^.*{name}: end"
    pattern = re.compile(rf"({begin})(?:.*\n)*?({end})", re.MULTILINE)
    body = f"{content}\n" if content else ""
    return pattern.sub(lambda marks: f"{marks[1]}{body}{marks[2]}", page)


def _default_of(tag: ScriptTag) -> str:
    if not tag.unit:
        return ""
    if math.isinf(tag.default):
        return "every attempt" if tag.unit == "attempts" else "for ever"
    return f"{tag.default:g}"


def _show(default: Any) -> str:
    if default is PydanticUndefined or default in (None, ()):
        return ""
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def main() -> None:
    """Write all tables."""
    SCENARIOS.write_text(scenarios_page(SCENARIOS.read_text()))
    COMPOSE.write_text(compose_file(COMPOSE.read_text()))
    page = DOCTOR_PAGE.read_text()
    DOCTOR_PAGE.write_text(replace_section(page, "rules", rules_table()))
    parity = subprocess.run(
        [sys.executable, "-m", "cli", "parity", "--markdown"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    page = replace_section(README.read_text(), "settings", settings_table())
    README.write_text(replace_section(page, "parity", parity.strip()))


if __name__ == "__main__":
    main()
