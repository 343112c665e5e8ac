"""Uploaded pictures: bytes first, then their row, so that no row points to nothing."""

from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from uuid import UUID, uuid4

import structlog

from shared.errors import (
    AssetInUse,
    InvalidRequest,
    StorageUnavailable,
    TooManyAssets,
    UnknownAsset,
)
from shared.imaging.media_types import UPLOAD_MAX_BYTES
from shared.imaging.store import ImageStore, asset_key
from shared.jobs.asset_store import AssetPage, AssetStore, NewAsset, StoredAsset

log = structlog.get_logger(__name__)


class AssetKeeper:
    """Keeps, returns and deletes the pictures that images are based on."""

    def __init__(self, assets: AssetStore, image_store: ImageStore) -> None:
        self._assets = assets
        self._image_store = image_store
        self._deleted_to: StoredAsset | None = None

    def upload(self, workspace_id: str, data: bytes, product_id: str | None = None) -> StoredAsset:
        """Keep a picture upright, in sRGB, and with nothing but its pixels.

        Args:
            workspace_id: Its workspace.
            data: A PNG, JPEG, WebP or AVIF file of at most 4 MiB and 50 million pixels (WebP: 25).
            product_id: The product of that workspace that it shows.

        Raises:
            InvalidRequest: It is none of these, or the workspace or product does not exist.
            TooManyAssets: The workspace keeps as many as it may.
            StorageUnavailable: The bytes could not be kept; there is no row either.
            ServiceUnavailable: PostgreSQL cannot be reached.
        """
        # Imported here because most processes never decode a picture.
        from shared.imaging.containers import NotAPicture
        from shared.imaging.uploads import clean_upload

        if len(data) > UPLOAD_MAX_BYTES:
            raise InvalidRequest(f"asset: has {len(data)} bytes, of at most {UPLOAD_MAX_BYTES}")
        try:
            picture = clean_upload(data)
        except NotAPicture as error:
            raise InvalidRequest(f"asset: {error}") from error
        asset_id = uuid4()
        key = asset_key(asset_id)
        self._image_store.put(key, picture.data, picture.media_type)
        new = NewAsset(
            asset_id,
            workspace_id,
            product_id,
            key,
            picture.media_type,
            len(picture.data),
            picture.width_px,
            picture.height_px,
            sha256(picture.data).hexdigest(),
        )
        try:
            return self._assets.insert(new)
        except (InvalidRequest, TooManyAssets):
            self._clean_up(asset_id)
            raise

    def get(self, asset_id: UUID, workspace_id: str | None = None) -> StoredAsset:
        """Return an asset; see `AssetStore.get`."""
        return self._assets.get(asset_id, workspace_id)

    def check_mask(self, mask_id: UUID, first_id: UUID, workspace_id: str) -> None:
        """Let a mask pass that fits its picture, as far as both exist.

        Raises:
            InvalidRequest: It does not fit, or one of them is no asset of the workspace.
            StorageUnavailable, ServiceUnavailable: Their bytes or rows cannot be read.
        """
        from shared.imaging.containers import NotAPicture, check_mask

        try:
            assets = [self._assets.get(each, workspace_id) for each in (mask_id, first_id)]
            check_mask(*(self._image_store.load(each.storage_key) for each in assets))
        except (UnknownAsset, NotAPicture) as error:
            raise InvalidRequest(f"mask_asset_id: {error}") from error

    def list(self, workspace_id: str, page: AssetPage) -> list[StoredAsset]:
        """Return assets of a workspace, newest first."""
        return self._assets.list(workspace_id, page)

    def delete_outdated(self, days: float | None) -> Iterator[int]:
        """Delete uploaded pictures of so many days that no job names; yield 1 for each."""
        while days is not None:
            asset = self._assets.find_outdated(days, self._deleted_to)
            # Noted before it is tried: the next run goes on behind one that cannot be deleted.
            self._deleted_to = asset
            if asset is None:
                return
            with suppress(UnknownAsset, AssetInUse):
                self.delete(asset.id, asset.workspace_id)
            yield 1

    def delete(self, asset_id: UUID, workspace_id: str) -> None:
        """Delete an asset with its bytes; repeating it after a failure is safe.

        Raises:
            UnknownAsset: There is none in the workspace.
            AssetInUse: A job that has not ended needs it.
            StorageUnavailable: The bytes may still be there, and the row is.
            ServiceUnavailable: PostgreSQL cannot be reached.
        """
        self._assets.delete(
            asset_id, workspace_id, before=lambda: self._image_store.remove(asset_key(asset_id))
        )
        log.info("asset deleted", asset_id=str(asset_id))

    def _clean_up(self, asset_id: UUID) -> None:
        try:
            self._image_store.remove(asset_key(asset_id))
        except StorageUnavailable as error:
            log.warning("upload not cleaned up", asset_id=str(asset_id), reason=str(error))
