"""The port of the image stores: where the bytes of images are kept, and what that promises."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import BinaryIO, Protocol
from uuid import UUID

from shared.errors import StorageUnavailable
from shared.imaging.provider import GeneratedImage

IMAGE_KEY = re.compile(r"[0-9a-f-]{36}/[0-9]+/[0-9]+")
PREVIEW_KEY = re.compile(rf"{IMAGE_KEY.pattern}\.preview")
ASSET_KEY = re.compile(r"assets/[0-9a-f-]{36}")


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One saved image: everything its row needs, without the bytes.

    Attributes:
        storage_key: `{job}/{attempt}/{position}`, whatever the store.
        sha256: The hash of the bytes, 64 lower-case hexadecimal digits.
    """

    position: int
    storage_key: str
    media_type: str
    width_px: int
    height_px: int
    size_bytes: int
    sha256: str
    seed: int
    provider: str
    model: str

    @property
    def attempt(self) -> int:
        """The attempt that saved it."""
        return int(self.storage_key.split("/")[1])


class ImageStore(Protocol):
    """Keeps the bytes of images, previews and assets (uploaded pictures).

    Contract: an object is either complete or absent, whenever its writer is killed. Saving the
    same key again with the same bytes, and deleting a key again, change nothing. What was saved
    is found by every process that uses the same store. Every method raises StorageUnavailable
    if the store cannot be used; after a failed deletion some objects may still be there.
    """

    @property
    def origin(self) -> str | None:
        """Where the addresses of `find_address` lead, as `https://host`; None if it gives none."""
        ...

    def save(self, job_id: UUID, attempt: int, image: GeneratedImage) -> StoredImage:
        """Keep an image under `{job}/{attempt}/{position}`, durably once this returns."""
        ...

    def find_saved(self, job_id: UUID) -> list[StoredImage]:
        """Return the images of all attempts of a job, one a position, by position.

        Where two attempts saved the same position, the earlier attempt's is returned.
        """
        ...

    def put(self, storage_key: str, data: bytes, media_type: str) -> None:
        """Keep a preview or an asset, in place of what had the key.

        A reader gets the one or the other, complete. `find_saved` returns neither. An asset is
        durable once this returns.
        """
        ...

    def remove(self, *storage_keys: str) -> None:
        """Delete previews or assets."""
        ...

    def load(self, storage_key: str) -> bytes:
        """Return the bytes of an image, a preview or an asset.

        Raises:
            StorageUnavailable: The key does not exist, or the store cannot be used.
        """
        ...

    def open(self, storage_key: str) -> BinaryIO:
        """Return a reader of what `load` returns, to be closed by the caller.

        Raises:
            StorageUnavailable: The key does not exist, or the store cannot be used.
        """
        ...

    def find_address(self, storage_key: str, headers: Mapping[str, str]) -> str | None:
        """Return an address from which a client may fetch the bytes itself, for a time.

        None if the store has no such addresses: the caller then sends the bytes.

        Args:
            storage_key: The key of an object that was saved.
            headers: What the answer from there says: Content-Type, Content-Disposition and
                Cache-Control.
        """
        ...

    def delete(self, job_id: UUID) -> None:
        """Delete all images and previews of a job, also those that no row names."""
        ...

    def list_jobs(self) -> Iterator[UUID]:
        """Yield every job of which something is stored, in any order, read as it is needed."""
        ...


def check_key(storage_key: str) -> None:
    """Let the key of an image, a preview or an asset pass.

    Raises:
        StorageUnavailable: It is none: nothing can be stored there.
    """
    if not any(kind.fullmatch(storage_key) for kind in (IMAGE_KEY, PREVIEW_KEY, ASSET_KEY)):
        raise StorageUnavailable(f"{storage_key[:64]!r} is not a storage key")


def asset_key(asset_id: UUID) -> str:
    """Return the key of an uploaded picture."""
    return f"assets/{asset_id}"


def preview_key(job_id: UUID, attempt: int, position: int) -> str:
    """Return the key of the preview of a position."""
    return f"{job_id}/{attempt}/{position}.preview"


def earliest(images: Iterable[StoredImage]) -> list[StoredImage]:
    """Return one image a position, by position: that of the earliest attempt."""
    latest_first = sorted(images, key=lambda image: image.attempt, reverse=True)
    by_position = {image.position: image for image in latest_first}
    return [by_position[position] for position in sorted(by_position)]


def describe(job_id: UUID, attempt: int, image: GeneratedImage) -> StoredImage:
    """Return the facts of an image that is going to be saved."""
    facts = asdict(image)
    data = facts.pop("data")
    return StoredImage(
        storage_key=f"{job_id}/{attempt}/{image.position}",
        size_bytes=len(data),
        sha256=sha256(data).hexdigest(),
        **facts,
    )
