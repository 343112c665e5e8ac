"""Gives each container of docker-compose.yml its own secrets, before they start.

`python -m devkit.secret_folder GIVEN FOLDERS` copies each secret that was given, so that a process
without root can read it, and makes up once what was not given. `FOLDERS/kept` holds all of them and
is mounted nowhere else; every other folder is that of one service.
"""

import secrets
import sys
from pathlib import Path

from shared.imaging.providers.registry import secret_names

DATABASE_PASSWORD = "database_password"  # noqa: S105 - the name of a file

MADE_UP = (DATABASE_PASSWORD, "signing_key")
"""Secrets that only have to be unknown and stay the same."""

_OF_PROVIDERS = secret_names()

GIVEN_ONLY = (*_OF_PROVIDERS, "redis_url", "aws_credentials", "ca.pem")
"""Files that come from somewhere else; an empty one where none was given."""

KEPT = "kept"

SECRETS_OF = {
    "postgres": (DATABASE_PASSWORD,),
    "migrate": (DATABASE_PASSWORD, "ca.pem"),
    "api": (DATABASE_PASSWORD, "redis_url", "signing_key", "aws_credentials", "ca.pem"),
    "worker": (DATABASE_PASSWORD, "redis_url", *_OF_PROVIDERS, "aws_credentials", "ca.pem"),
    "beat": ("redis_url", "ca.pem"),
}
"""What each service needs, by the name of its folder."""

SECRET_BYTES = 32


def fill(given: Path, folders: Path) -> None:
    """Put a file for each secret into the folder of each service that needs it.

    Args:
        given: Holds a file for each secret that its owner chose; an empty one chooses none.
        folders: Holds a folder for each service, and one that keeps what was made up.
    """
    kept = folders / KEPT
    for name in (*MADE_UP, *GIVEN_ONLY):
        secret = (given / name).read_text("utf-8").strip()
        if not secret and name in MADE_UP:
            if (kept / name).exists():
                continue
            secret = secrets.token_urlsafe(SECRET_BYTES)
        _write(kept / name, secret)
    for service, names in SECRETS_OF.items():
        for name in names:
            _write(folders / service / name, (kept / name).read_text("utf-8"))


def _write(path: Path, secret: str) -> None:
    temporary = path.with_name(f".{path.name}")
    temporary.unlink(missing_ok=True)
    temporary.touch(mode=0o600)
    temporary.write_text(secret, "utf-8")
    # As Docker's own secrets: a process that has the folder may read them, whatever its user id.
    temporary.chmod(0o444)
    temporary.replace(path)


if __name__ == "__main__":
    fill(*map(Path, sys.argv[1:]))
