"""One request for images: its job, once, and the answer that its client waits for."""

import math
import time
from asyncio import to_thread
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from uuid import UUID

import structlog
from fastapi import Request, Response
from fastapi.responses import JSONResponse

from shared.api.caller import caller_of
from shared.api.dependencies import ApiContext
from shared.api.generation_routes import check_idempotency_key
from shared.api.openai.images_answer import AnswerWriter
from shared.api.openai.images_request import ImagesRequest
from shared.api.openai.openai_errors import RECEIVED_AT, error_of_job, running_error
from shared.api.openai.waiting_response import Push, StreamedResponse, WaitingResponse
from shared.api.uploads import Upload
from shared.errors import DarkroomError
from shared.imaging.params import AUTO, DEFAULT_SIZE
from shared.imaging.request import GenerationRequest, ImageOrder
from shared.jobs.acceptance import Accepted, Terms
from shared.jobs.model import Job
from shared.jobs.views import JobView
from shared.status import JobStatus

JOB_HEADER = "x-darkroom-job"
POLL_SECONDS = 2
RETRY_KEPT_SECONDS = 600
"""A retry of an SDK finds the job of the same body that is not older: an SDK waits so long."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ImagesExchange:
    """One request, from its job to its answer.

    Attributes:
        kind: `image_generation` or `image_edit`: how the events of a stream are named.
        upload: The pictures to edit; None for images of a prompt alone.
    """

    api: ApiContext
    workspace_id: str
    request: Request
    asked: ImagesRequest
    kind: str
    writer: AnswerWriter
    upload: Upload | None = None
    shown: dict[int, tuple[int, int]] = field(default_factory=dict)

    async def answer(self) -> Response:
        """Accept the request, and return a response that waits for the end of its job."""
        if await self.request.is_disconnected():
            # Its client may have sent it again already.
            return Response(status_code=499)
        limits = self.api.delivery.limits
        async with AsyncExitStack() as waiting:
            key_id = caller_of(self.request.scope).key_id
            await waiting.enter_async_context(self.api.delivery.hold(self.workspace_id, key_id))
            job = (await self._accept()).job
            headers = {JOB_HEADER: str(job.id)}
            if limits is not None:
                answer = await self._collect(job, limits.seconds)
                answer.headers.update(headers)
                return answer
            held = waiting.pop_all()
        response = StreamedResponse if self.asked.wishes.stream else WaitingResponse
        leave = partial(self._leave, job)
        return response(lambda push: self._wait(job, push), headers, leave, held.aclose)

    async def answer_task(self) -> Response:
        """Accept the request, and return its job as a task."""
        job = (await self._accept()).job
        view = await self._find(job)
        address = self.writer.path_of_task(job.id)
        headers = {
            JOB_HEADER: str(job.id),
            "Location": address,
            "Retry-After": str(POLL_SECONDS),
        }
        return JSONResponse(await to_thread(self.writer.write_task, view), 202, headers)

    async def _leave(self, job: Job) -> None:
        log.info("client left", job_id=str(job.id))
        if self.api.settings.disconnect == "cancel":
            await to_thread(self.api.services.cancel, job.id, self.workspace_id)

    async def _accept(self) -> Accepted:
        api, order = self.api, self.asked.order
        terms = self._terms()
        if self.upload is None:
            return await to_thread(api.services.submitter.submit_on, self._order(order), terms)
        workspace_id = self.workspace_id
        repeated = await to_thread(api.services.jobs.find_repeated, workspace_id, terms)
        if repeated is not None:
            return repeated
        accepted, ids = None, list[UUID]()
        try:
            for number in range(self.upload.parts):
                async with self.upload.load(number) as picture:
                    asset = await to_thread(api.services.assets.upload, workspace_id, picture)
                ids.append(asset.id)
            order = self._based_on(order, ids)
            accepted = await to_thread(api.services.submitter.submit_on, self._order(order), terms)
        finally:
            if accepted is None or not accepted.is_new:
                for asset_id in ids:
                    await to_thread(api.services.assets.delete, asset_id, workspace_id)
        return accepted

    def _based_on(self, order: ImageOrder, ids: list[UUID]) -> ImageOrder:
        first, *others = ids
        mask_id = others.pop() if self.asked.has_mask else None
        return order.model_copy(
            update={
                "source_asset_id": first,
                "reference_asset_ids": others,
                "mask_asset_id": mask_id,
            }
        )

    async def _collect(self, job: Job, seconds: float) -> Response:
        """Return the whole answer, or after so many seconds an error that asks for a retry."""
        parts: list[bytes] = []

        async def push(data: bytes) -> None:
            parts.append(data)

        answer = await self._wait(job, push, seconds)
        if not parts or answer.status_code != 200:
            return answer
        return Response(b"".join([*parts, bytes(answer.body)]), media_type=answer.media_type)

    async def _wait(self, job: Job, push: Push, seconds: float = math.inf) -> Response:
        wishes = self.asked.wishes
        shows_previews = wishes.stream and wishes.partial_images > 0
        if not job.status.is_terminal:
            async with aclosing(self.api.delivery.follow(job, seconds)) as events:
                async for event in events:
                    if shows_previews and not event.is_last:
                        # A preview is an extra: without it the images still come.
                        with suppress(DarkroomError):
                            await self._push_previews(job, push)
        return await self._answer_of(await self._find(job), seconds)

    async def _answer_of(self, view: JobView, seconds: float) -> Response:
        status = view.job.status
        if not status.is_terminal:
            return running_error(seconds).as_response({"Retry-After": "1"})
        if status is JobStatus.FAILED:
            # A retry finds the same job.
            return error_of_job(view.job.error or {}).as_response({"x-should-retry": "false"})
        return await to_thread(self._whole_answer, view)

    def _whole_answer(self, view: JobView) -> Response:
        if self.asked.wishes.stream:
            events = b"".join(self.writer.write_events(view, self.kind))
            return Response(events, media_type="text/event-stream")
        return JSONResponse(self.writer.write_images(view))

    async def _push_previews(self, job: Job, push: Push) -> None:
        view = await self._find(job)
        for preview in view.previews:
            index, number = self.shown.get(preview["position"], (0, 0))
            if preview["number"] > number and index < self.asked.wishes.partial_images:
                self.shown[preview["position"]] = (index + 1, preview["number"])
                await push(await to_thread(self.writer.write_partial, preview, index, self.kind))

    async def _find(self, job: Job) -> JobView:
        return await to_thread(self.api.services.views.get, job.id, self.workspace_id)

    def _order(self, order: ImageOrder) -> GenerationRequest:
        settings = self.api.settings
        models, changes = settings.models, dict[str, str | None]()
        if settings.mocks_provider and order.model not in models.providers:
            # The mock provider stands for every model.
            changes["model"] = None
        elif order.size == AUTO and AUTO not in models.get(order.model).offer.sizes:
            # Clients say so whatever the model.
            changes["size"] = DEFAULT_SIZE
        order = order.model_copy(update=changes)
        return GenerationRequest.model_construct(**dict(order), workspace_id=self.workspace_id)

    def _terms(self) -> Terms:
        """Return the terms under which a repeated request finds the job that it made before.

        SDKs send no Idempotency-Key, but they count their retries. A retry finds the job of the
        request that came first. That request makes a job of its own, unless it took so long to
        get here that a retry came before it.
        """
        headers = self.request.headers
        terms = Terms(self.api.services.submission_limits, request_sha256=self.asked.sha256)
        key, retries = headers.get("idempotency-key"), headers.get("x-stainless-retry-count")
        if key is not None:
            check_idempotency_key(key)
            return replace(terms, key=key)
        if retries is None:
            return terms
        sender = f"{headers.get('authorization')} {self.asked.sha256}"
        is_first = retries == "0"
        age_seconds = max(0.0, time.time() - self.request.scope[RECEIVED_AT])
        return replace(
            terms,
            key=f"sdk-{sha256(sender.encode()).hexdigest()}",
            kept_seconds=age_seconds if is_first else RETRY_KEPT_SECONDS,
            is_first=is_first,
            outlives_job=False,
        )
