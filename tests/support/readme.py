"""The generated tables of README and docs: `make readme` writes them, a test compares them.

They come from the code; the parity table from a run of `darkroom parity --markdown`.
"""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from cli.doctor.gathering import RULES
from shared.imaging.scripts import SCRIPTS, ScriptTag
from shared.settings import Settings
from tests.support.images_api import FAULTS

PROJECT = Path(__file__).resolve().parents[2]
README = PROJECT / "README.md"
SCENARIOS = PROJECT / "docs" / "scenarios.md"
DOCTOR_PAGE = PROJECT / "docs" / "doctor.md"


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


def replace_section(page: str, name: str, content: str) -> str:
    """Return the page with the content between the marks of a section replaced."""
    begin, end = f"<!-- {name}: begin (make readme) -->", f"<!-- {name}: end -->"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{content}\n{end}{after}"


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
