"""Fills the folder of secrets that the containers of docker-compose.yml share, before they start.

`python -m devkit.secret_folder GIVEN FOLDER DATABASE`: each secret that was given is copied, so
that processes without root can read it; what nobody gave is made up once, and kept. The database,
which is not our program, finds its password in a folder of its own, and no other secret.
"""

import argparse
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.imaging.providers.registry import secret_names

DATABASE_PASSWORD = "database_password"  # noqa: S105 - the name of a file

MADE_UP = (DATABASE_PASSWORD, "signing_key")
"""Secrets that only have to be unknown and stay the same."""

GIVEN_ONLY = (*secret_names(), "redis_url", "aws_credentials")
"""Secrets that come from somewhere else; an empty file where there is none."""

SECRET_BYTES = 32


def fill(given: Path, folder: Path, database: Path) -> None:
    """Put a file for each secret into the folder, and the database's password into its own.

    Args:
        given: Holds a file for each secret that its owner chose; an empty one chooses none.
        folder: Keeps what was made up; must not be readable outside these containers.
        database: The folder of the database's container.
    """
    for name in (*MADE_UP, *GIVEN_ONLY):
        path = folder / name
        secret = (given / name).read_text("utf-8").strip()
        if not secret and name in MADE_UP:
            if path.exists():
                continue
            secret = secrets.token_urlsafe(SECRET_BYTES)
        _write(path, secret)
    _write(database / DATABASE_PASSWORD, (folder / DATABASE_PASSWORD).read_text("utf-8"))


def _write(path: Path, secret: str) -> None:
    temporary = path.with_name(f".{path.name}")
    temporary.unlink(missing_ok=True)
    temporary.touch(mode=0o600)
    temporary.write_text(secret, "utf-8")
    # As Docker's own secrets: whoever has the folder may read them, whatever his user id.
    temporary.chmod(0o444)
    temporary.replace(path)


def main(arguments: Sequence[str]) -> None:
    """Fill the folder that the command line names."""
    parser = argparse.ArgumentParser("python -m devkit.secret_folder", description=__doc__)
    parser.add_argument("given", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("database", type=Path)
    folders = parser.parse_args(arguments)
    fill(folders.given, folders.folder, folders.database)


if __name__ == "__main__":
    main(sys.argv[1:])
