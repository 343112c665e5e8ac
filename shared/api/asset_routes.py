"""Routes of assets: uploaded pictures, which jobs use as references."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from shared.api.authorization import CallerOf
from shared.api.context import Context
from shared.api.documentation import problems
from shared.api.presenter import json_response
from shared.api.schemas import AssetBody
from shared.imaging.request import OwnerId

_UPLOAD = {
    "requestBody": {
        "required": True,
        "description": "The file itself, of at most 4 MiB and 50 million pixels.",
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in ("image/png", "image/jpeg", "image/webp")
        },
    }
}


router = APIRouter(prefix="/v1/assets", tags=["assets"])


@router.post(
    "",
    status_code=201,
    summary="Upload a picture",
    response_model=AssetBody,
    responses=problems(401, 403, 413, 415, 422, 503),
    openapi_extra=_UPLOAD,
)
async def upload(
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
    responses=problems(401, 403, 404, 422, 503),
)
async def get_asset(api: Context, asset_id: UUID, caller: CallerOf) -> Response:
    """Return the facts of a picture, with a new signed address of its bytes."""
    asset = await api.run(api.services.assets.get, asset_id, caller.workspace_id)
    return json_response(api.presenter.show_asset(asset))


@router.delete(
    "/{asset_id}",
    status_code=204,
    summary="Delete an asset",
    responses=problems(401, 403, 404, 409, 422, 503),
)
async def delete_asset(api: Context, asset_id: UUID, caller: CallerOf) -> Response:
    """Delete a picture that no open job needs; jobs that have ended no longer name it."""
    await api.run(api.services.assets.delete, asset_id, caller.workspace_id)
    return Response(status_code=204)
