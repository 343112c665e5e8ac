"""An environment with the package and without its extras, made of links to this environment."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def make_environment(folder: Path, *extras: str) -> Path:
    """Make a virtual environment in the folder; return its Python.

    Args:
        folder: Where it is made.
        extras: The extras that are installed as well.
    """
    made = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(made, check=True)
    [packages] = folder.glob("lib/python*/site-packages")
    for name in needed("darkroom", *extras):
        installed = distribution(name)
        tops = {file.parts[0] for file in installed.files or () if file.parts[0] != ".."}
        for top in tops - {"__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(installed.locate_file(top))))
    return folder / "bin" / "python"


def needed(name: str, *extras: str) -> set[str]:
    """Return the distributions that one needs with these extras, itself included."""
    found = {name}
    open_ones = [(name, extras)]
    while open_ones:
        parent, wanted = open_ones.pop()
        for child, its_extras in _requirements(parent, wanted):
            if child not in found or its_extras:
                found.add(child)
                open_ones.append((child, its_extras))
    return found


def _requirements(name: str, extras: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    from packaging.requirements import Requirement

    for line in distribution(name).requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, "")):
            child = re.sub(r"[-_.]+", "-", requirement.name).lower()
            yield child, tuple(requirement.extras)
