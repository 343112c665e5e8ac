"""Routes of assets: uploaded pictures, which jobs use as references."""

from asyncio import to_thread
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from shared.api.cursors import PAGE_MAX, Cursor, read_cursor, write_cursor
from shared.api.dependencies import Context, WorkspaceToCancel, WorkspaceToRead, WorkspaceToSubmit
from shared.api.documentation import examples, problems, problems_of
from shared.api.schemas import AssetBody, AssetPageBody
from shared.imaging.media_types import UPLOAD_MAX_BYTES, UPLOAD_MEDIA_TYPES
from shared.imaging.request import OwnerId
from shared.jobs.asset_store import AssetPage

_TYPES = " or ".join(UPLOAD_MEDIA_TYPES)
_UPLOAD = {
    "requestBody": {
        "required": True,
        "description": "The file itself, of at most 4 MiB and 50 million pixels.",
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in UPLOAD_MEDIA_TYPES
        },
    }
}


router = APIRouter(prefix="/v1/assets", tags=["assets"])


@router.post(
    "",
    status_code=201,
    summary="Upload a picture",
    responses={
        201: examples("The picture is stored.", "asset"),
        **problems(
            *("request_timeout", "payload_too_large", "unsupported_media_type"),
            *("too_many_assets", "too_many_uploads", "storage_unavailable"),
            payload_too_large=f"the body may have {UPLOAD_MAX_BYTES} bytes",
            unsupported_media_type=f"send the body as Content-Type: {_TYPES}",
            invalid_request="asset: is not a whole picture (UnidentifiedImageError)",
        ),
    },
    openapi_extra=_UPLOAD,
)
async def create_asset(
    request: Request,
    response: Response,
    api: Context,
    workspace_id: WorkspaceToSubmit,
    product_id: Annotated[OwnerId | None, Query(description="The product that it shows.")] = None,
) -> AssetBody:
    """Store a picture upright, in sRGB and without its metadata."""
    async with api.uploads.receive(request, workspace_id) as upload, upload.load() as data:
        asset = await to_thread(api.services.assets.upload, workspace_id, data, product_id)
    response.headers["Location"] = api.presenter.path_of_asset(asset.id)
    return api.presenter.show_asset(asset)


@router.get(
    "",
    summary="List assets",
    responses={
        200: examples("One page.", "asset_page"),
        **problems(invalid_request="limit should be less than or equal to 100"),
    },
)
async def list_assets(
    api: Context,
    workspace_id: WorkspaceToRead,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX, description="Assets of a page.")] = 20,
    cursor: Cursor = None,
    product_id: Annotated[OwnerId | None, Query(description="Only of this product.")] = None,
) -> AssetPageBody:
    """Return one page of assets, newest first, each with a new signed address."""
    page = AssetPage(limit + 1, product_id, read_cursor(cursor))
    found = await to_thread(api.services.assets.list, workspace_id, page)
    last = found[limit - 1] if len(found) > limit else None
    next_cursor = write_cursor(last.created_at, last.id) if last else None
    items = [api.presenter.show_asset(asset) for asset in found[:limit]]
    return AssetPageBody(items=items, next_cursor=next_cursor)


@router.get(
    "/{asset_id}",
    summary="Get an asset",
    responses={200: examples("The asset.", "asset"), **problems_of("asset")},
)
async def get_asset(api: Context, asset_id: UUID, workspace_id: WorkspaceToRead) -> AssetBody:
    """Return the facts of a picture, with a new signed address of its bytes."""
    asset = await to_thread(api.services.assets.get, asset_id, workspace_id)
    return api.presenter.show_asset(asset)


@router.delete(
    "/{asset_id}",
    status_code=204,
    summary="Delete an asset",
    responses={
        204: {"description": "The asset is deleted."},
        **problems_of("asset", "asset_in_use", "storage_unavailable"),
    },
)
async def delete_asset(api: Context, asset_id: UUID, workspace_id: WorkspaceToCancel) -> None:
    """Delete a picture that no open job needs; a job that showed it cannot be retried."""
    await to_thread(api.services.assets.delete, asset_id, workspace_id)
