"""The route of images: `/v1/images/{id}`, the stable path that rows hold."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from shared.api.authorization import Credentials, find_workspace
from shared.api.documentation import problems
from shared.api.parts import Parts

PICTURE = {
    "description": "The picture.",
    "content": {"image/png": {}, "image/jpeg": {}, "image/webp": {}},
}


router = APIRouter(prefix="/v1/images", tags=["images"])


@router.get(
    "/{image_id}",
    summary="Get an image",
    response_class=Response,
    responses={
        200: PICTURE,
        307: {"description": "Where the picture is, for whoever keeps them elsewhere."},
        304: {"description": "The picture that the client has."},
        **problems(401, 403, 404, 422, 503),
    },
)
async def get_image(
    request: Request,
    parts: Parts,
    image_id: UUID,
    credentials: Credentials,
    token: Annotated[
        str | None, Query(max_length=200, description="As in the image's `url`.")
    ] = None,
    download: Annotated[bool, Query(description="As a file to be saved, with a name.")] = False,
) -> Response:
    """Return the bytes of a picture, or a redirection to them."""
    signer = parts.representer.image_signer
    workspace_id = await find_workspace(parts, signer, image_id, token, credentials)
    image = await parts.threads.run(parts.views.get_image, image_id, workspace_id)
    headers = {
        "ETag": f'"{image.sha256}"',
        "Cache-Control": "private, max-age=86400, immutable",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if download:
        name = f"{image.job_id}-{image.position}.{image.media_type.rpartition('/')[2]}"
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    wanted = {**headers, "Content-Type": image.media_type}
    address = await parts.threads.run(parts.image_store.find_address, image.storage_key, wanted)
    if address is not None:
        # The address is signed, and not valid for long.
        return RedirectResponse(address, 307, {"Cache-Control": "no-store"})
    data = await parts.threads.run(parts.image_store.load, image.storage_key)
    return Response(data, headers=headers, media_type=image.media_type)
