"""The route of images: `/v1/images/{id}`, the stable path that rows hold."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from shared.api.authorization import Credentials, find_workspace
from shared.api.documentation import problems
from shared.api.parts import ApiParts, Parts

PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture.",
        "content": {"image/png": {}, "image/jpeg": {}, "image/webp": {}},
    },
    307: {"description": "Where the picture is, for whoever keeps them elsewhere."},
    304: {"description": "The picture that the client has."},
}
"""The answers of a route that serves pictures."""


router = APIRouter(prefix="/v1/images", tags=["images"])


@router.get(
    "/{image_id}",
    summary="Get an image",
    response_class=Response,
    responses={**PICTURE, **problems(401, 403, 404, 422, 503)},
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
    name = f"{image.job_id}-{image.position}.{image.media_type.rpartition('/')[2]}"
    return await answer_with_picture(
        request,
        parts,
        image.storage_key,
        image.media_type,
        image.sha256,
        file_name=name if download else None,
    )


async def answer_with_picture(
    request: Request,
    parts: ApiParts,
    storage_key: str,
    media_type: str,
    tag: str,
    *,
    file_name: str | None = None,
) -> Response:
    """Answer with the bytes of a picture that never changes, or with where they are.

    Args:
        request: May say which picture the client has.
        parts: Of the application.
        storage_key: Where the bytes lie in the image store.
        media_type: What they are.
        tag: What tells it from every other: the hash of its bytes.
        file_name: Under which the client is to save it; None if it is to be shown.
    """
    headers = {"ETag": f'"{tag}"', "Cache-Control": "private, max-age=86400, immutable"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if file_name is not None:
        headers["Content-Disposition"] = f'attachment; filename="{file_name}"'
    wanted = {**headers, "Content-Type": media_type}
    address = await parts.threads.run(parts.image_store.find_address, storage_key, wanted)
    if address is not None:
        # The address is signed, and not valid for long.
        return RedirectResponse(address, 307, {"Cache-Control": "no-store"})
    data = await parts.threads.run(parts.image_store.load, storage_key)
    return Response(data, headers=headers, media_type=media_type)
