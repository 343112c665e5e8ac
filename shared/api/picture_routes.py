"""Routes of pictures, by signed addresses: images, previews, and the contents of assets."""

from asyncio import to_thread
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from shared.api.dependencies import ApiContext, Context, opened_by
from shared.api.documentation import Responses, problems_of
from shared.api.picture_response import PictureResponse
from shared.errors import StorageUnavailable
from shared.imaging.media_types import MEDIA_TYPES

_NOT_MODIFIED: Responses = {304: {"description": "The client has the picture already."}}

_NO_STORE = {"Cache-Control": "no-store"}  # in the image store, too


def _picture_of(thing: str) -> Responses:
    content: dict[str, Any] = {media_type: {} for media_type in MEDIA_TYPES}
    return {
        200: {"description": "The picture.", "content": content},
        206: {"description": "The part of it that `Range` asks for.", "content": content},
        307: {"description": "The address of the picture in the image store."},
        **problems_of(thing, "invalid_token", "expired_token", "storage_unavailable"),
    }


router = APIRouter(prefix="/v1", default_response_class=Response)


@router.get(
    "/images/{image_id}",
    tags=["images"],
    summary="Get an image",
    responses=_NOT_MODIFIED | _picture_of("image"),
)
async def get_image(
    request: Request,
    api: Context,
    image_id: UUID,
    workspace_id: Annotated[str | None, opened_by("image")],
    download: Annotated[bool, Query(description="As a file to save, with a name.")] = False,
) -> Response:
    """Return the bytes of an image, or a redirection to them."""
    image = await to_thread(api.services.views.get_image, image_id, workspace_id)
    headers = _cached(image.sha256)
    if download:
        name = f"{image.job_id}-{image.position}.{image.media_type.rpartition('/')[2]}"
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return await _respond(request, api, image.storage_key, image.media_type, headers)


@router.get(
    "/assets/{asset_id}/content",
    tags=["assets"],
    summary="Get the picture of an asset",
    responses=_NOT_MODIFIED | _picture_of("asset"),
)
async def get_asset_content(
    request: Request,
    api: Context,
    asset_id: UUID,
    workspace_id: Annotated[str | None, opened_by("asset")],
) -> Response:
    """Return the bytes of an uploaded picture, or a redirection to them."""
    asset = await to_thread(api.services.assets.get, asset_id, workspace_id)
    headers = _cached(asset.sha256 or str(asset.id))
    return await _respond(request, api, asset.storage_key, asset.media_type, headers)


@router.get(
    "/previews/{preview_id}",
    tags=["images"],
    summary="Get a preview",
    responses=_picture_of("preview"),
)
async def get_preview(
    request: Request,
    api: Context,
    preview_id: UUID,
    workspace_id: Annotated[str | None, opened_by("preview")],
    number: Annotated[
        int | None, Query(ge=1, description="As in the preview's `url`; the newest is returned.")
    ] = None,
) -> Response:
    """Return the newest preview of an image, or a redirection to it, while its attempt runs."""
    get = api.services.views.get_preview
    preview = await to_thread(get, preview_id, workspace_id)
    try:
        return await _respond(request, api, preview.storage_key, preview.media_type, _NO_STORE)
    except StorageUnavailable:
        # If its attempt has just ended, the preview is gone and nothing is broken.
        await to_thread(get, preview_id, workspace_id)
        raise


def _cached(tag: str) -> dict[str, str]:
    return {"ETag": f'"{tag}"', "Cache-Control": "private, max-age=86400, immutable"}


async def _respond(
    request: Request,
    api: ApiContext,
    storage_key: str,
    media_type: str,
    headers: Mapping[str, str],
) -> Response:
    if "ETag" in headers and request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    store = api.services.image_store
    wanted = {**headers, "Content-Type": media_type}
    address = await to_thread(store.find_address, storage_key, wanted)
    if address is not None:
        return RedirectResponse(address, 307)
    part, limits = request.headers.get("range", ""), api.delivery.limits
    if "if-range" in request.headers and request.headers["if-range"] != headers.get("ETag"):
        part = ""
    # As base64, three bytes are four.
    part_max_bytes = None if limits is None else limits.size_bytes * 3 // 4
    file = await to_thread(store.open, storage_key)
    return PictureResponse(file, headers, media_type, part, part_max_bytes)
