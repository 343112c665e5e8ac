"""The rows of assets: pictures that a workspace has uploaded, for jobs to show."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, exc

from shared.database.statements import Statements
from shared.errors import AssetInUse, InvalidRequest, TooManyAssets, UnknownAsset

FULL_RETRY_AFTER_SECONDS = 60
"""When to try again where a workspace has no room; it must delete some first."""


@dataclass(frozen=True, slots=True)
class NewAsset:
    """A picture whose bytes are kept; size and hash are None where the shop wrote its row."""

    id: UUID
    workspace_id: str
    product_id: str | None
    storage_key: str
    media_type: str
    size_bytes: int
    width_px: int | None
    height_px: int | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class StoredAsset(NewAsset):
    """One row of `assets`."""

    created_at: datetime


@dataclass(frozen=True, slots=True)
class AssetPage:
    """Which assets of a workspace are asked for, newest first.

    Attributes:
        before: Creation time and id of the last asset of the page before.
    """

    limit: int
    product_id: str | None = None
    before: tuple[datetime, UUID] | None = None


class AssetStore:
    """Writes and reads assets. Every method raises ServiceUnavailable without PostgreSQL.

    Args:
        engine: The connections.
        limit: Of assets that a workspace may have; None for any number.
    """

    def __init__(
        self, engine: Engine, limit: int | None = None, *, makes_owners: bool = False
    ) -> None:
        self._run = Statements(engine, __file__)
        self._limit = limit
        self._makes_owners = makes_owners

    def insert(self, new: NewAsset) -> StoredAsset:
        """Write the row of an uploaded picture.

        Raises:
            InvalidRequest: The workspace or product does not exist.
            TooManyAssets: The workspace has as many as it may.
        """
        parameters = asdict(new) | {"id": str(new.id), "limit": self._limit}
        try:
            rows = self._run("insert_asset", parameters)
        except exc.IntegrityError as error:
            if not self._makes_owners:
                raise InvalidRequest(_explain(new)) from error
            self._run("make_owners", {**parameters, "user_id": None})
            rows = self._run("insert_asset", parameters)
        if not rows and self._limit is not None:
            raise TooManyAssets(self._limit, FULL_RETRY_AFTER_SECONDS)
        return _asset_of(rows[0])

    def list(self, workspace_id: str, page: AssetPage) -> list[StoredAsset]:
        """Return assets of a workspace, newest first."""
        before_time, before_id = page.before or (None, None)
        parameters = {
            "workspace_id": workspace_id,
            "product_id": page.product_id,
            "before_time": before_time,
            "before_id": before_id and str(before_id),
            "limit": page.limit,
        }
        return [_asset_of(row) for row in self._run("list_assets", parameters)]

    def find_outdated(self, days: float, after: StoredAsset | None) -> StoredAsset | None:
        """Return the oldest uploaded picture, or the next after another, that no job names.

        Args:
            days: How old it is at least.
            after: The one that was found before it; None begins with the first.
        """
        parameters = {
            "seconds": days * 86_400,
            "after_time": after and after.created_at,
            "after_id": after and str(after.id),
        }
        rows = self._run("find_outdated_asset", parameters)
        return _asset_of(rows[0]) if rows else None

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
