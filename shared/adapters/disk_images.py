"""The image store on disk: `{root}/{job}/{attempt}/{position}`, and the facts beside it.

Used by the local runtime. The file without a suffix holds the exact bytes; `{position}.json`
holds the facts that `StoredImage` names, `{position}.preview` what the picture looks like so far.
"""

import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from itertools import chain
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from shared.errors import StorageUnavailable
from shared.imaging.provider import GeneratedImage
from shared.imaging.store import (
    IMAGE_KEY,
    PREVIEW_KEY,
    StoredImage,
    check_key,
    describe,
    earliest,
)

_FACT_TYPES = {field.name: field.type for field in fields(StoredImage)}


class DiskImageStore:
    """Keeps images in a folder, which every process that is to find them must share.

    The facts are written first and the bytes last, each under a temporary name and then
    renamed, so that a picture exists from the moment its bytes bear their name. A writer that
    is killed may leave a temporary file or lone facts; neither is ever taken for a picture.

    Args:
        root: The folder; made when the first picture is saved. Whatever lies below it behind
            a symbolic link is refused.
    """

    origin: str | None = None

    def __init__(self, root: Path) -> None:
        self._root = root

    def save(self, job_id: UUID, attempt: int, image: GeneratedImage) -> StoredImage:
        """Keep one picture; see `ImageStore.save`."""
        facts = describe(job_id, attempt, image)
        with _storage_errors("keep", facts.storage_key):
            path = self._path_of(facts.storage_key)
            if _read_facts(path, facts.storage_key) == facts and path.read_bytes() == image.data:
                return facts
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            _write(_facts_path(path), json.dumps(asdict(facts)).encode(), is_synced=False)
            # One fsync, for the bytes: they cannot be made again for free. Whatever a power cut
            # takes besides (the facts, a new name) makes the picture absent, never torn.
            _write(path, image.data, is_synced=True)
        return facts

    def put(self, storage_key: str, data: bytes, media_type: str) -> None:
        """Keep a preview or an asset; see `ImageStore.put`."""
        with _storage_errors("keep", storage_key):
            path = self._path_of(storage_key)
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, data, is_synced=PREVIEW_KEY.fullmatch(storage_key) is None)

    def remove(self, *storage_keys: str) -> None:
        """Delete previews or assets; see `ImageStore.remove`."""
        for key in storage_keys:
            with _storage_errors("delete", key):
                self._path_of(key).unlink(missing_ok=True)

    def find_saved(self, job_id: UUID) -> list[StoredImage]:
        """Return a job's pictures, one a position; see `ImageStore.find_saved`."""
        with _storage_errors("read", str(job_id)):
            keys = filter(IMAGE_KEY.fullmatch, self._keys_of(job_id))
            found = (_read_facts(self._path_of(key), key) for key in keys)
            return earliest(facts for facts in found if facts is not None)

    def load(self, storage_key: str) -> bytes:
        """Return the bytes of a picture; see `ImageStore.load`."""
        check_key(storage_key)
        with _storage_errors("read", storage_key):
            return self._path_of(storage_key).read_bytes()

    def open(self, storage_key: str) -> BinaryIO:
        """Return a reader of a picture's file; see `ImageStore.open`."""
        check_key(storage_key)
        with _storage_errors("read", storage_key):
            return self._path_of(storage_key).open("rb")

    def find_address(self, storage_key: str, headers: Mapping[str, str]) -> str | None:
        """Return None: the bytes are here alone; see `ImageStore.find_address`."""
        return None

    def delete(self, job_id: UUID) -> None:
        """Forget all pictures of a job; see `ImageStore.delete`."""
        with _storage_errors("delete", str(job_id)), suppress(FileNotFoundError):
            shutil.rmtree(self._path_of(str(job_id)))

    def list_jobs(self) -> Iterator[UUID]:
        """Yield the jobs of the store; see `ImageStore.list_jobs`."""
        with (
            _storage_errors("list", "folders"),
            suppress(FileNotFoundError),
            os.scandir(self._root) as entries,
        ):
            for entry in entries:
                with suppress(ValueError):
                    yield UUID(entry.name)

    def delete_leftovers(self, age_seconds: float) -> int:
        """Delete temporary files of writers that were killed; return how many.

        Args:
            age_seconds: Younger files may be in use, and stay.

        Raises:
            StorageUnavailable: The folder cannot be read, or a file cannot be deleted.
        """
        newest = time.time() - age_seconds
        deleted = 0
        with _storage_errors("tidy up", "folder"):
            for path in chain(self._root.glob("*/.*.tmp"), self._root.glob("*/*/.*.tmp")):
                if path.lstat().st_mtime < newest:
                    path.unlink(missing_ok=True)
                    deleted += 1
        return deleted

    def _keys_of(self, job_id: UUID) -> Iterator[str]:
        root = self._path_of("")
        with suppress(FileNotFoundError):
            for folder, _folders, names in os.walk(root / str(job_id), onerror=_fail):
                yield from (f"{os.path.relpath(folder, root)}/{name}" for name in names)

    def _path_of(self, key: str) -> Path:
        path = Path(os.path.realpath(self._root)) / key
        if os.path.realpath(path) != str(path):
            raise StorageUnavailable(f"image {key} lies behind a symbolic link")
        return path


@contextmanager
def _storage_errors(verb: str, key: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # The text of the error number alone: str(error) would name paths of this machine.
        reason = error.strerror or type(error).__name__
        raise StorageUnavailable(f"could not {verb} image {key}: {reason}") from error


def _fail(error: OSError) -> None:
    # A folder that cannot be read may hold pictures that were paid for.
    raise error


def _facts_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _write(path: Path, data: bytes, *, is_synced: bool) -> None:
    """Put a whole file in place of `path`, or leave nothing behind."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            if is_synced:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read_facts(path: Path, storage_key: str) -> StoredImage | None:
    """Return the facts of the picture at `path`, or None if there is no whole picture."""
    try:
        found = path.lstat()
        facts = json.loads(_facts_path(path).read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode) or not isinstance(facts, dict):
        return None
    if {name: type(value) for name, value in facts.items()} != _FACT_TYPES:
        return None
    stored = StoredImage(**facts)
    is_whole = (stored.storage_key, stored.size_bytes) == (storage_key, found.st_size)
    return stored if is_whole else None
