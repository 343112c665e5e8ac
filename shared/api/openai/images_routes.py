"""The routes of OpenAI's Images API: generations, edits, models, and tasks for those who poll.

OpenAI documents them, so the OpenAPI document does not.
"""

import re
from asyncio import to_thread
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from shared.api.dependencies import ApiContext, Context, WorkspaceToRead, WorkspaceToSubmit
from shared.api.openai.images_answer import AnswerWriter
from shared.api.openai.images_exchange import JOB_HEADER, POLL_SECONDS, ImagesExchange
from shared.api.openai.images_request import Wishes, read_edit, read_generation
from shared.jobs.workspace_limits import LimitStore

_ASYNC = re.compile(r"\brespond-async\b", re.IGNORECASE)

ResponseFormat = Literal["b64_json", "url"]

router = APIRouter(include_in_schema=False)


@router.post("/v1/images/generations")
@router.post("/v1/images/generations/async")
async def generate_images(
    request: Request, api: Context, workspace_id: WorkspaceToSubmit
) -> Response:
    """Make images of a prompt."""
    asked = read_generation(await request.body())
    writer = _writer_of(request, api, asked.wishes)
    return await _answer(
        ImagesExchange(api, workspace_id, request, asked, "image_generation", writer)
    )


@router.post("/v1/images/edits")
@router.post("/v1/images/edits/async")
async def edit_image(request: Request, api: Context, workspace_id: WorkspaceToSubmit) -> Response:
    """Make images of a prompt and pictures."""
    content_type = request.headers.get("content-type", "")
    async with api.uploads.receive(request, workspace_id) as upload:
        async with upload.load() as body:
            asked, pictures = read_edit(body, content_type)
            upload.replace(pictures)
            del body, pictures
        writer = _writer_of(request, api, asked.wishes)
        return await _answer(
            ImagesExchange(api, workspace_id, request, asked, "image_edit", writer, upload)
        )


@router.get("/v1/images/tasks/{task_id}")
async def get_task(
    request: Request,
    api: Context,
    task_id: UUID,
    workspace_id: WorkspaceToRead,
    response_format: Annotated[ResponseFormat | None, Query()] = None,
) -> Response:
    """Return a job as a task; with its images once it has ended."""
    view = await to_thread(api.services.views.get, task_id, workspace_id)
    writer = _writer_of(request, api, Wishes(response_format=response_format))
    headers = {JOB_HEADER: str(task_id)}
    if not view.job.status.is_terminal:
        headers["Retry-After"] = str(POLL_SECONDS)
    return JSONResponse(await to_thread(writer.write_task, view), 200, headers)


@router.get("/v1/models")
async def list_models(api: Context, workspace_id: WorkspaceToRead) -> Response:
    """List the models that the workspace may ask for, the default one first."""
    models = await to_thread(_models_of, api, workspace_id)
    return JSONResponse({"object": "list", "data": models})


@router.get("/v1/models/{model:path}")
async def get_model(api: Context, model: str, workspace_id: WorkspaceToRead) -> Response:
    """Return a model."""
    for found in await to_thread(_models_of, api, workspace_id):
        if found["id"] == model:
            return JSONResponse(found)
    raise HTTPException(404, f"no model {model[:64]!r}")


async def _answer(exchange: ImagesExchange) -> Response:
    request = exchange.request
    is_task = request.url.path.endswith("/async")
    if is_task or _ASYNC.search(request.headers.get("prefer", "")):
        return await exchange.answer_task()
    return await exchange.answer()


def _models_of(api: ApiContext, workspace_id: str) -> list[dict[str, object]]:
    allowed = LimitStore(api.services.engine).find_models(workspace_id)
    return [
        {
            # OpenAI gives the day of each model's release, which no provider here declares.
            **{"id": model.name, "object": "model", "created": 0, "owned_by": model.provider},
            **model.offer.shown,
        }
        for model in api.settings.models
        if allowed is None or model.name in allowed
    ]


def _writer_of(request: Request, api: ApiContext, wishes: Wishes) -> AnswerWriter:
    limits = api.delivery.limits
    return AnswerWriter(
        api.services.image_store,
        api.presenter,
        str(request.base_url).rstrip("/"),
        wishes,
        None if limits is None else limits.size_bytes,
        api.settings.retention_days,
    )
