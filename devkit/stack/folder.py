"""The private folder in which embedded servers keep sockets, data and logs."""

import fcntl
import os
import pwd
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.errors import ConfigurationError

PREFIX = "darkroom-"
LOCK_NAME = "lock"
FALLBACK_PARENT = Path("/tmp")  # noqa: S108 - only a parent for mkdtemp

SOCKET_PATH_MAX_BYTES = 90
"""man 7 unix: `sun_path` holds 108 bytes (macOS 104); PostgreSQL adds `.lock` beside it."""

LONGEST_SOCKET_PATH = f"{PREFIX}12345678/postgres/.s.PGSQL.5432"


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the system, by number."""

    user_id: int
    group_id: int


def unprivileged_account() -> Account | None:
    """Return the account for servers that refuse root; None when not root.

    Raises:
        ConfigurationError: This is root, and there is no user `nobody`.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise ConfigurationError(
            "PostgreSQL refuses to run as root and there is no user 'nobody' to run it as: "
            "set DATABASE_URL, or run as an ordinary user"
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


@contextmanager
def private_folder() -> Iterator[Path]:
    """Make a folder with a short path that only this user can enter; delete it at the end.

    Folders of processes that were killed before they could delete theirs are deleted first.
    As root, the group of `nobody` may pass through, for the server that refuses root.

    Raises:
        ConfigurationError: No folder can be made.
    """
    parent = _parent_folder()
    _delete_abandoned(parent)
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    except OSError as error:
        raise ConfigurationError(f"cannot make a folder in {parent}: {error.strerror}") from error
    try:
        with _held(folder):
            account = unprivileged_account()
            if account is not None:
                _let_group_pass(folder, account)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _parent_folder() -> Path:
    """Return the system's folder for temporary files if sockets in it work, else /tmp.

    Addresses are URLs, and PostgreSQL takes a comma in one for a list of hosts, so only plain
    characters will do.
    """
    preferred = Path(tempfile.gettempdir())
    length_bytes = len(os.fsencode(preferred / LONGEST_SOCKET_PATH))
    plain = re.fullmatch(r"[A-Za-z0-9_./-]+", str(preferred)) is not None
    if plain and length_bytes < SOCKET_PATH_MAX_BYTES and _others_may_pass(preferred):
        return preferred
    return FALLBACK_PARENT


def _others_may_pass(folder: Path) -> bool:
    """Return whether `nobody` gets through to the folder; irrelevant unless this is root."""
    if os.geteuid() != 0:
        return True
    steps = (folder.resolve(), *folder.resolve().parents)
    return all(step.stat().st_mode & stat.S_IXOTH for step in steps)


def _let_group_pass(folder: Path, account: Account) -> None:
    try:
        os.chown(folder, os.geteuid(), account.group_id)
    except OSError as error:
        raise ConfigurationError(
            "PostgreSQL refuses to run as root and this machine cannot run it as 'nobody' "
            f"({error.strerror}): set DATABASE_URL, or run as an ordinary user"
        ) from error
    folder.chmod(stat.S_IRWXU | stat.S_IXGRP)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Mark the folder as in use for as long as this process lives, however it dies.

    The lock is taken before the file gets its name, so that nobody can find it unlocked.
    """
    unnamed = folder / f"{LOCK_NAME}.new"
    with unnamed.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        unnamed.rename(folder / LOCK_NAME)
        yield


def _delete_abandoned(parent: Path) -> None:
    for lock in parent.glob(f"{PREFIX}*/{LOCK_NAME}"):
        try:
            ours = lock.parent.stat().st_uid == os.geteuid() and not lock.parent.is_symlink()
            if ours and _is_abandoned(lock):
                shutil.rmtree(lock.parent, ignore_errors=True)
        except OSError:
            continue  # another process deleted it first


def _is_abandoned(lock: Path) -> bool:
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
