"""Uploaded pictures: bytes first, then their row, so that no row points to nothing."""

from hashlib import sha256
from uuid import UUID, uuid4

import structlog

from shared.errors import InvalidRequest, StorageUnavailable
from shared.imaging.media_types import UPLOAD_MAX_BYTES
from shared.imaging.store import ImageStore
from shared.jobs.asset_store import AssetStore, NewAsset, StoredAsset

log = structlog.get_logger(__name__)


class AssetKeeper:
    """Keeps, returns and deletes the pictures that images are based on."""

    def __init__(self, assets: AssetStore, image_store: ImageStore) -> None:
        self._assets = assets
        self._image_store = image_store

    def upload(self, workspace_id: str, data: bytes, product_id: str | None = None) -> StoredAsset:
        """Keep a picture, decoded and encoded anew with nothing but its pixels.

        Args:
            workspace_id: Its workspace.
            data: A PNG, JPEG or WebP file of at most 4 MiB and 50 million pixels.
            product_id: The product of that workspace that it shows.

        Raises:
            InvalidRequest: It is none of these, or the workspace or product does not exist.
            StorageUnavailable: The bytes could not be kept; there is no row either.
            ServiceUnavailable: PostgreSQL cannot be reached.
        """
        # Imported here because most processes never decode a picture.
        from shared.imaging.decoding import NotAPicture
        from shared.imaging.uploads import clean_upload

        if len(data) > UPLOAD_MAX_BYTES:
            raise InvalidRequest(f"asset: has {len(data)} bytes, of at most {UPLOAD_MAX_BYTES}")
        try:
            picture = clean_upload(data)
        except NotAPicture as error:
            raise InvalidRequest(f"asset: {error}") from error
        asset_id = uuid4()
        key = self._image_store.save_asset(asset_id, picture.data, picture.media_type)
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
        except InvalidRequest:
            self._clean_up(asset_id)
            raise

    def get(self, asset_id: UUID, workspace_id: str | None = None) -> StoredAsset:
        """Return an asset; see `AssetStore.get`."""
        return self._assets.get(asset_id, workspace_id)

    def delete(self, asset_id: UUID, workspace_id: str) -> None:
        """Delete an asset with its bytes; repeating it after a failure is safe.

        Raises:
            UnknownAsset: There is none in the workspace.
            AssetInUse: A job that has not ended needs it.
            StorageUnavailable: The bytes may still be there, and the row is.
            ServiceUnavailable: PostgreSQL cannot be reached.
        """
        self._assets.delete(
            asset_id, workspace_id, before=lambda: self._image_store.delete_asset(asset_id)
        )
        log.info("asset deleted", asset_id=str(asset_id))

    def _clean_up(self, asset_id: UUID) -> None:
        try:
            self._image_store.delete_asset(asset_id)
        except StorageUnavailable as error:
            log.warning("upload not cleaned up", asset_id=str(asset_id), reason=str(error))
