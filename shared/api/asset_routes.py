"""Routes of assets: uploaded pictures, which jobs use as references."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from shared.api.authorization import CallerOf
from shared.api.context import Context
from shared.api.documentation import examples, problems, problems_of
from shared.api.presenter import json_response
from shared.api.schemas import AssetBody
from shared.imaging.media_types import MEDIA_TYPES, UPLOAD_MAX_BYTES
from shared.imaging.request import OwnerId

_UPLOAD = {
    "requestBody": {
        "required": True,
        "description": "The file itself, of at most 4 MiB and 50 million pixels.",
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in MEDIA_TYPES
        },
    }
}


router = APIRouter(prefix="/v1/assets", tags=["assets"])


@router.post(
    "",
    status_code=201,
    summary="Upload a picture",
    response_model=AssetBody,
    responses={
        201: examples("The picture is stored.", "asset"),
        **problems(
            *("payload_too_large", "unsupported_media_type", "storage_unavailable"),
            payload_too_large=f"the body may have {UPLOAD_MAX_BYTES} bytes",
            unsupported_media_type=f"send the body as Content-Type: {' or '.join(MEDIA_TYPES)}",
            invalid_request="asset: is not a PNG, JPEG or WebP file",
        ),
    },
    openapi_extra=_UPLOAD,
)
async def create_asset(
    request: Request,
    api: Context,
    caller: CallerOf,
    product_id: Annotated[OwnerId | None, Query(description="The product that it shows.")] = None,
) -> Response:
    """Store a picture: decoded, turned upright, and encoded again without its metadata."""
    data = await request.body()
    async with api.uploading:
        asset = await api.run(api.services.assets.upload, caller.workspace_id, data, product_id)
    headers = {"Location": api.presenter.path_of_asset(asset.id)}
    return json_response(api.presenter.show_asset(asset), 201, headers)


@router.get(
    "/{asset_id}",
    summary="Get an asset",
    response_model=AssetBody,
    responses={200: examples("The asset.", "asset"), **problems_of("asset")},
)
async def get_asset(api: Context, asset_id: UUID, caller: CallerOf) -> Response:
    """Return the facts of a picture, with a new signed address of its bytes."""
    asset = await api.run(api.services.assets.get, asset_id, caller.workspace_id)
    return json_response(api.presenter.show_asset(asset))


@router.delete(
    "/{asset_id}",
    status_code=204,
    summary="Delete an asset",
    responses={
        204: {"description": "The asset is deleted."},
        **problems_of("asset", "asset_in_use", "storage_unavailable"),
    },
)
async def delete_asset(api: Context, asset_id: UUID, caller: CallerOf) -> Response:
    """Delete a picture that no open job needs; jobs that have ended no longer name it."""
    await api.run(api.services.assets.delete, asset_id, caller.workspace_id)
    return Response(status_code=204)
