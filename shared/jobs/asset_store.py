"""The rows of assets: pictures that a workspace has uploaded, for jobs to show."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, exc

from shared.database.statements import Statements
from shared.errors import AssetInUse, InvalidRequest, UnknownAsset


@dataclass(frozen=True, slots=True)
class NewAsset:
    """A picture whose bytes are kept, about to become a row."""

    id: UUID
    workspace_id: str
    product_id: str | None
    storage_key: str
    media_type: str
    size_bytes: int
    width_px: int
    height_px: int
    sha256: str


@dataclass(frozen=True, slots=True)
class StoredAsset:
    """One row of `assets`; size and hash are None where the shop wrote it by itself."""

    id: UUID
    workspace_id: str
    product_id: str | None
    storage_key: str
    media_type: str
    size_bytes: int
    width_px: int | None
    height_px: int | None
    sha256: str | None
    created_at: datetime


class AssetStore:
    """Writes and reads assets. Every method raises ServiceUnavailable without PostgreSQL."""

    def __init__(self, engine: Engine) -> None:
        self._run = Statements(engine, __file__)

    def insert(self, new: NewAsset) -> StoredAsset:
        """Write the row of an uploaded picture.

        Raises:
            InvalidRequest: The workspace or product does not exist.
        """
        parameters: dict[str, Any] = {
            name: getattr(new, name) for name in NewAsset.__dataclass_fields__
        }
        try:
            [row] = self._run("insert_asset", {**parameters, "id": str(new.id)})
        except exc.IntegrityError as error:
            raise InvalidRequest(_explain(new)) from error
        return _asset_of(row)

    def get(self, asset_id: UUID, workspace_id: str | None = None) -> StoredAsset:
        """Return an asset; with a workspace, only if it belongs to it.

        Raises:
            UnknownAsset: There is none.
        """
        parameters = {"id": str(asset_id), "workspace_id": workspace_id}
        rows = self._run("find_asset", parameters)
        if not rows:
            raise UnknownAsset(asset_id)
        return _asset_of(rows[0])

    def delete(self, asset_id: UUID, workspace_id: str, before: Callable[[], None]) -> None:
        """Delete an asset; jobs that have ended forget it.

        Args:
            asset_id: Of the workspace.
            workspace_id: Its workspace.
            before: Called when the row can be deleted, before the commit; what it raises undoes
                the deletion.

        Raises:
            UnknownAsset: There is none in the workspace.
            AssetInUse: A job that has not ended needs it.
        """
        parameters = {"id": str(asset_id), "workspace_id": workspace_id}
        try:
            with self._run.transaction() as run:
                if not run("delete_asset", parameters):
                    raise UnknownAsset(asset_id)
                before()
        except exc.IntegrityError as error:
            raise AssetInUse(asset_id) from error


def _explain(new: NewAsset) -> str:
    if new.product_id is not None:
        return f"product_id: no product {new.product_id!r} in workspace {new.workspace_id!r}"
    return f"workspace_id: no workspace {new.workspace_id!r}"


def _asset_of(row: Any) -> StoredAsset:
    values = row._asdict()
    values["id"] = UUID(str(values["id"]))
    return StoredAsset(**values)
