"""The route of previews: `/v1/previews/{id}`, a picture in the making while its attempt runs."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from fastapi.responses import RedirectResponse

from shared.api.authorization import Credentials, find_workspace
from shared.api.documentation import problems
from shared.api.images import PICTURE
from shared.api.parts import Parts
from shared.errors import StorageUnavailable

# It is replaced by the next one, and gone with its attempt.
_NOT_KEPT = {"Cache-Control": "no-store"}

router = APIRouter(prefix="/v1/previews", tags=["images"])


@router.get(
    "/{preview_id}",
    summary="Get a preview",
    response_class=Response,
    responses={200: PICTURE[200], 307: PICTURE[307], **problems(401, 403, 404, 422, 503)},
)
async def get_preview(
    parts: Parts,
    preview_id: UUID,
    credentials: Credentials,
    token: Annotated[
        str | None, Query(max_length=200, description="As in the preview's `url`.")
    ] = None,
    number: Annotated[
        int | None, Query(ge=1, description="As in the preview's `url`; the newest is returned.")
    ] = None,
) -> Response:
    """Return the newest preview of a position, or a redirection to it, while its attempt runs."""
    signer = parts.representer.preview_signer
    workspace_id = await find_workspace(parts, signer, preview_id, token, credentials)
    preview = await parts.threads.run(parts.views.get_preview, preview_id, workspace_id)
    headers = {**_NOT_KEPT, "Content-Type": preview.media_type}
    address = await parts.threads.run(parts.image_store.find_address, preview.storage_key, headers)
    if address is not None:
        return RedirectResponse(address, 307, _NOT_KEPT)
    try:
        data = await parts.threads.run(parts.image_store.load, preview.storage_key)
    except StorageUnavailable:
        # Its attempt may have ended this moment: then it is unknown, and nothing is broken.
        await parts.threads.run(parts.views.get_preview, preview_id, workspace_id)
        raise
    return Response(data, headers=_NOT_KEPT, media_type=preview.media_type)
