"""Folders of the embedded servers: private ones for a run, and those that keep data."""

import fcntl
import os
import pwd
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from devkit.launch import SAME_ACCOUNT
from shared.errors import ConfigurationError

PREFIX = "darkroom-"
LOCK_NAME = "lock"
FALLBACK_PARENT = Path("/tmp")  # noqa: S108 - only a parent for mkdtemp

SOCKET_PATH_MAX_BYTES = 90
"""man 7 unix: `sun_path` holds 108 bytes (macOS 104); PostgreSQL adds `.lock` beside it."""

LONGEST_SOCKET_PATH = f"{PREFIX}12345678/postgres/.s.PGSQL.5432"


def unprivileged_account() -> tuple[int, int]:
    """Return user and group id for servers that refuse root; unchanged (-1) when not root.

    Raises:
        ConfigurationError: This is root, and there is no user `nobody`.
    """
    if os.geteuid() != 0:
        return SAME_ACCOUNT
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise ConfigurationError(
            "PostgreSQL refuses to run as root and there is no user 'nobody' to run it as: "
            "set DATABASE_URL, or run as an ordinary user"
        ) from None
    return entry.pw_uid, entry.pw_gid


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
        # The lock is taken before the file gets its name, so that it is never found unlocked.
        with _locked(folder / f"{LOCK_NAME}.new") as lock:
            lock.rename(folder / LOCK_NAME)
            _let_account_pass(folder)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def data_folder(folder: Path) -> Iterator[Path]:
    """Make a folder that keeps data, if need be, and lock it for the length of the block.

    Raises:
        ConfigurationError: It cannot be made or entered, or another process uses it.
    """
    folder = folder.resolve()
    if not others_may_pass(folder.parent):
        raise ConfigurationError(
            f"PostgreSQL refuses to run as root, and 'nobody' cannot enter {folder.parent}: "
            "choose another folder, or run as an ordinary user"
        )
    with ExitStack() as undo:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            undo.enter_context(_locked(folder / LOCK_NAME))
        except BlockingIOError:
            raise ConfigurationError(f"{folder} is in use by another process") from None
        except OSError as error:
            raise ConfigurationError(f"cannot use {folder}: {error.strerror}") from error
        _let_account_pass(folder)
        yield folder


def _parent_folder() -> Path:
    """Return the system's folder for temporary files if sockets in it work, else /tmp.

    Addresses are URLs, and PostgreSQL takes a comma in one for a list of hosts, so only plain
    characters will do.
    """
    preferred = Path(tempfile.gettempdir())
    length_bytes = len(os.fsencode(preferred / LONGEST_SOCKET_PATH))
    plain = re.fullmatch(r"[A-Za-z0-9_./-]+", str(preferred)) is not None
    if plain and length_bytes < SOCKET_PATH_MAX_BYTES and others_may_pass(preferred):
        return preferred
    return FALLBACK_PARENT


def others_may_pass(folder: Path) -> bool:
    """Return whether `nobody` can enter the folder; True unless this is root."""
    if os.geteuid() != 0:
        return True
    steps = (folder.resolve(), *folder.resolve().parents)
    return all(step.stat().st_mode & stat.S_IXOTH for step in steps if step.exists())


def _let_account_pass(folder: Path) -> None:
    if os.geteuid() != 0:
        return
    try:
        os.chown(folder, 0, unprivileged_account()[1])
    except OSError as error:
        raise ConfigurationError(
            "PostgreSQL refuses to run as root and this machine cannot run it as 'nobody' "
            f"({error.strerror}): set DATABASE_URL, or run as an ordinary user"
        ) from error
    folder.chmod(stat.S_IRWXU | stat.S_IXGRP)


@contextmanager
def _locked(path: Path) -> Iterator[Path]:
    """Hold a lock on the file for as long as the block runs or this process lives.

    Raises:
        BlockingIOError: Another process holds it.
    """
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield path


def _delete_abandoned(parent: Path) -> None:
    for lock in parent.glob(f"{PREFIX}*/{LOCK_NAME}"):
        folder = lock.parent
        # An error means that it is in use, or that another process deleted it first.
        with suppress(OSError):
            if folder.stat().st_uid == os.geteuid() and not folder.is_symlink():
                with _locked(lock):
                    shutil.rmtree(folder, ignore_errors=True)
