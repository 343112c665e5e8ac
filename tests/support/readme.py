"""The generated tables of the README and of docs/doctor.md: `make readme` writes them.

The settings and rules come from the code, and a test compares them; the parity table from a run
of `darkroom parity --markdown`.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from local.doctor.gathering import RULES
from shared.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]
README = PROJECT / "README.md"
DOCTOR_PAGE = PROJECT / "docs" / "doctor.md"


def settings_table() -> str:
    """Return the table of all settings, in the order of the code."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = _show(field.default)
        lines.append(f"| `{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines)


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


def _show(default: Any) -> str:
    if default is PydanticUndefined or default in (None, ()):
        return ""
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def main() -> None:
    """Write all tables."""
    page = DOCTOR_PAGE.read_text()
    DOCTOR_PAGE.write_text(replace_section(page, "rules", rules_table()))
    parity = subprocess.run(
        [sys.executable, "-m", "local.cli", "parity", "--markdown"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    page = replace_section(README.read_text(), "settings", settings_table())
    README.write_text(replace_section(page, "parity", parity.strip()))


if __name__ == "__main__":
    main()
