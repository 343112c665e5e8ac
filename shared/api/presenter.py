"""Jobs and assets as clients see them: with attempts, images and signed addresses."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel

from shared.access.signatures import AddressSigner
from shared.api.schemas import (
    AssetBody,
    AttemptBody,
    ErrorBody,
    ImageBody,
    JobBody,
    PreviewBody,
    ReceiptBody,
    RetryBody,
    UrlsBody,
)
from shared.imaging.params import DEFAULT_SIZE
from shared.imaging.provider import ChargeState
from shared.imaging.styles import DEFAULT_STYLE
from shared.jobs.asset_store import StoredAsset
from shared.jobs.model import Job
from shared.jobs.views import JobView
from shared.settings import Settings
from shared.status import JobStatus


class Presenter:
    """Shows jobs and assets; signs the addresses that browsers open without headers."""

    def __init__(self, settings: Settings) -> None:
        self._base = settings.public_base_url or ""
        secret = settings.signing_secret
        self.event_signer = AddressSigner(secret, "events", settings.event_token_seconds)
        self.asset_signer = AddressSigner(secret, "asset", settings.image_token_seconds)
        self.image_signer = AddressSigner(secret, "image", settings.image_token_seconds)
        self.preview_signer = AddressSigner(secret, "preview", settings.image_token_seconds)

    def path_of(self, job_id: UUID) -> str:
        """Return the address of a job."""
        return f"{self._base}/v1/generations/{job_id}"

    def path_of_asset(self, asset_id: UUID) -> str:
        """Return the address of an asset."""
        return f"{self._base}/v1/assets/{asset_id}"

    def show_asset(self, asset: StoredAsset) -> AssetBody:
        """Return an asset as clients see it."""
        token = self.asset_signer.sign(asset.id)
        url = f"{self.path_of_asset(asset.id)}/content?token={token}"
        return AssetBody.model_validate({**asdict(asset), "url": url})

    def show(self, view: JobView) -> JobBody:
        """Return a job as clients see it."""
        job = view.job
        params = job.params
        error = None if job.error is None else _error_of(job.error)
        return JobBody(
            id=job.id,
            task_id=job.task_id,
            status=job.status,
            progress=job.progress,
            message=job.message,
            prompt=str(params.get("prompt", "")),
            style=str(params.get("style") or DEFAULT_STYLE),
            size=str(params.get("size") or DEFAULT_SIZE),
            n=_integer_of(params.get("n"), 1),
            seed=_integer_of(params.get("seed"), None),
            product_id=job.product_id,
            source_asset_id=job.source_asset_id,
            metadata=_mapping_of(params.get("metadata")),
            images=[self._image_of(image) for image in view.images],
            previews=[self._preview_of(preview) for preview in view.previews],
            missing=int((job.result or {}).get("missing", 0)),
            error=error,
            attempt=job.attempt,
            max_attempts=job.max_attempts,
            attempts=[_attempt_of(line) for line in view.attempts],
            receipt=_receipt_of(view.attempts),
            retry=_retry_of(job, error),
            next_attempt_at=job.next_attempt_at,
            cancel_requested_at=job.cancel_requested_at,
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            urls=self._urls_of(job.id),
        )

    def _urls_of(self, job_id: UUID) -> UrlsBody:
        path = self.path_of(job_id)
        token = self.event_signer.sign(job_id)
        return UrlsBody(self=path, events=f"{path}/events?token={token}", cancel=f"{path}/cancel")

    def _image_of(self, image: Mapping[str, Any]) -> ImageBody:
        image_id = UUID(image["id"])
        token = self.image_signer.sign(image_id)
        url = f"{self._base}/v1/images/{image_id}?token={token}"
        return ImageBody(**{**image, "id": image_id, "url": url})

    def _preview_of(self, preview: Mapping[str, Any]) -> PreviewBody:
        preview_id = UUID(preview["id"])
        token = self.preview_signer.sign(preview_id)
        # Each newer preview has another address, so that browsers load it.
        query = f"number={preview['number']}&token={token}"
        url = f"{self._base}/v1/previews/{preview_id}?{query}"
        shown = {name: value for name, value in preview.items() if name != "id"}
        return PreviewBody(**shown, url=url)


def _attempt_of(line: Mapping[str, Any]) -> AttemptBody:
    error = line["error"]
    return AttemptBody(**{**line, "error": None if error is None else _error_of(error)})


def _receipt_of(lines: Sequence[Mapping[str, Any]]) -> ReceiptBody:
    charged = [line for line in lines if line["charge_state"] == ChargeState.CHARGED]
    prices = [line["price_microdollars"] for line in charged]
    return ReceiptBody(
        price_microdollars=sum(price for price in prices if price is not None),
        charged_calls=len(charged),
        unknown_calls=sum(line["charge_state"] == ChargeState.UNKNOWN for line in lines),
        unpriced_calls=prices.count(None),
    )


def _retry_of(job: Job, error: ErrorBody | None) -> RetryBody | None:
    if job.status is not JobStatus.PENDING or job.next_attempt_at is None or error is None:
        return None
    return RetryBody(
        attempt=job.attempt + 1,
        max_attempts=job.max_attempts,
        code=error.code,
        reason=error.message,
        next_attempt_at=job.next_attempt_at,
    )


def _error_of(error: Mapping[str, Any]) -> ErrorBody:
    return ErrorBody(**error)


# A foreign producer may have written any params into its row.


def _integer_of(value: Any, default: int | None) -> Any:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _mapping_of(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def json_response(
    body: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a body that holds signed addresses, and so must not be cached."""
    headers = {"Cache-Control": "no-store", **(headers or {})}
    return Response(body.model_dump_json(), status, headers, media_type="application/json")
