"""Routes of assets: pictures of the shop's own, which jobs are to show."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from shared.api.authorization import CallerOf, Credentials, find_workspace
from shared.api.documentation import problems
from shared.api.images import PICTURE, answer_with_picture
from shared.api.parts import Parts
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
    parts: Parts,
    caller: CallerOf,
    product_id: Annotated[OwnerId | None, Query(description="The product that it shows.")] = None,
) -> Response:
    """Keep a picture: decoded and encoded anew, upright, without anything but its pixels."""
    data = await request.body()
    async with parts.uploading:
        asset = await parts.threads.run(parts.assets.upload, caller.workspace_id, data, product_id)
    body = parts.representer.show_asset(asset)
    headers = {"Location": parts.representer.path_of_asset(asset.id), "Cache-Control": "no-store"}
    return Response(body.model_dump_json(), 201, headers, media_type="application/json")


@router.get(
    "/{asset_id}",
    summary="Get an asset",
    response_model=AssetBody,
    responses=problems(401, 403, 404, 422, 503),
)
async def get_asset(parts: Parts, asset_id: UUID, caller: CallerOf) -> Response:
    """Return what is known of a picture, with a new signed address of its bytes."""
    asset = await parts.threads.run(parts.assets.get, asset_id, caller.workspace_id)
    body = parts.representer.show_asset(asset)
    headers = {"Cache-Control": "no-store"}
    return Response(body.model_dump_json(), 200, headers, media_type="application/json")


@router.get(
    "/{asset_id}/content",
    summary="Get the picture of an asset",
    response_class=Response,
    responses={**PICTURE, **problems(401, 403, 404, 422, 503)},
)
async def get_content(
    request: Request,
    parts: Parts,
    asset_id: UUID,
    credentials: Credentials,
    token: Annotated[
        str | None, Query(max_length=200, description="As in the asset's `url`.")
    ] = None,
) -> Response:
    """Return the bytes of the picture as they are kept, or a redirection to them."""
    signer = parts.representer.asset_signer
    workspace_id = await find_workspace(parts, signer, asset_id, token, credentials)
    asset = await parts.threads.run(parts.assets.get, asset_id, workspace_id)
    tag = asset.sha256 or str(asset.id)
    return await answer_with_picture(request, parts, asset.storage_key, asset.media_type, tag)


@router.delete(
    "/{asset_id}",
    status_code=204,
    summary="Delete an asset",
    responses=problems(401, 403, 404, 409, 422, 503),
)
async def delete_asset(parts: Parts, asset_id: UUID, caller: CallerOf) -> Response:
    """Delete a picture that no job is waiting for; those that have ended forget it."""
    await parts.threads.run(parts.assets.delete, asset_id, caller.workspace_id)
    return Response(status_code=204)
