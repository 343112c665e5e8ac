"""The generated tables of the README: `make readme` writes them, a test compares them.

The settings come from the code; the parity table from a run of `darkroom parity --markdown`.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from shared.settings import Settings

README = Path(__file__).resolve().parents[2] / "README.md"


def settings_table() -> str:
    """Return the table of all settings, in the order of the code."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = _show(field.default)
        lines.append(f"| `{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines)


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
    """Write both tables into the README."""
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
