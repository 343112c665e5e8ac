"""Routes of pictures, by signed addresses: images, previews, and the contents of assets."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from shared.api.authorization import Access
from shared.api.context import ApiContext, Context
from shared.api.documentation import Responses, problems_of
from shared.errors import StorageUnavailable
from shared.imaging.media_types import MEDIA_TYPES

_NOT_MODIFIED: Responses = {304: {"description": "The client has the picture already."}}

_NO_STORE = {"Cache-Control": "no-store"}


def _picture_of(thing: str) -> Responses:
    content: dict[str, Any] = {media_type: {} for media_type in MEDIA_TYPES}
    return {
        200: {"description": "The picture.", "content": content},
        307: {"description": "The address of the picture in the image store."},
        **problems_of(thing, "invalid_token", "expired_token", "storage_unavailable"),
    }


router = APIRouter(prefix="/v1")


@router.get(
    "/images/{image_id}",
    tags=["images"],
    summary="Get an image",
    response_class=Response,
    responses=_NOT_MODIFIED | _picture_of("image"),
)
async def get_image(
    request: Request,
    api: Context,
    image_id: UUID,
    access: Access,
    download: Annotated[bool, Query(description="As a file to save, with a name.")] = False,
) -> Response:
    """Return the bytes of an image, or a redirection to them."""
    workspace_id = await access.find_workspace(api.presenter.image_signer, image_id)
    image = await api.run(api.services.views.get_image, image_id, workspace_id)
    headers = _cached(image.sha256)
    if download:
        name = f"{image.job_id}-{image.position}.{image.media_type.rpartition('/')[2]}"
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return await _respond(request, api, image.storage_key, image.media_type, headers)


@router.get(
    "/assets/{asset_id}/content",
    tags=["assets"],
    summary="Get the picture of an asset",
    response_class=Response,
    responses=_NOT_MODIFIED | _picture_of("asset"),
)
async def get_asset_content(
    request: Request, api: Context, asset_id: UUID, access: Access
) -> Response:
    """Return the bytes of an uploaded picture, or a redirection to them."""
    workspace_id = await access.find_workspace(api.presenter.asset_signer, asset_id)
    asset = await api.run(api.services.assets.get, asset_id, workspace_id)
    headers = _cached(asset.sha256 or str(asset.id))
    return await _respond(request, api, asset.storage_key, asset.media_type, headers)


@router.get(
    "/previews/{preview_id}",
    tags=["images"],
    summary="Get a preview",
    response_class=Response,
    responses=_picture_of("preview"),
)
async def get_preview(
    request: Request,
    api: Context,
    preview_id: UUID,
    access: Access,
    number: Annotated[
        int | None, Query(ge=1, description="As in the preview's `url`; the newest is returned.")
    ] = None,
) -> Response:
    """Return the newest preview of an image, or a redirection to it, while its attempt runs."""
    get = api.services.views.get_preview
    workspace_id = await access.find_workspace(api.presenter.preview_signer, preview_id)
    preview = await api.run(get, preview_id, workspace_id)
    try:
        return await _respond(request, api, preview.storage_key, preview.media_type, _NO_STORE)
    except StorageUnavailable:
        # If its attempt has just ended, the preview is gone and nothing is broken.
        await api.run(get, preview_id, workspace_id)
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
    address = await api.run(store.find_address, storage_key, wanted)
    if address is not None:
        # The address is signed, and soon expires.
        return RedirectResponse(address, 307, _NO_STORE)
    data = await api.run(store.load, storage_key)
    return Response(data, headers=headers, media_type=media_type)
