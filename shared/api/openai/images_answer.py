"""Jobs as OpenAI's clients read them: images, events of a stream, tasks."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from shared.api.openai.images_request import Wishes
from shared.api.openai.openai_errors import error_of_job
from shared.api.presenter import Presenter
from shared.imaging.provider import ChargeState
from shared.imaging.store import ImageStore
from shared.jobs.model import Job
from shared.jobs.views import JobView


@dataclass(frozen=True, slots=True)
class AnswerWriter:
    """Writes the answers to one request; blocks while it reads the bytes of images.

    Attributes:
        base_url: Goes before addresses that begin with `/`: SDKs open no others.
        most_bytes: The longest answer; None for any. A longer one has addresses only.
        retention_days: How long an ended job is kept; None for ever.
    """

    store: ImageStore
    presenter: Presenter
    base_url: str
    wishes: Wishes
    most_bytes: int | None = None
    retention_days: float | None = None

    def write_images(self, view: JobView) -> dict[str, Any]:
        """Return the images of a completed job.

        Raises:
            StorageUnavailable: Their bytes cannot be read.
        """
        return {
            "created": _seconds(view.job.finished_at or view.job.created_at),
            "data": self._data_of(view),
            "usage": _usage_of(view.attempts),
            **self._look_of(view),
        }

    def write_events(self, view: JobView, kind: str) -> list[bytes]:
        """Return the last events of a stream: one for each image of a completed job."""
        facts = {
            "created_at": _seconds(view.job.finished_at or view.job.created_at),
            "usage": _usage_of(view.attempts),
            "quality": "auto",
            "background": "auto",
            **self._look_of(view),
        }
        return [frame_of(f"{kind}.completed", {**datum, **facts}) for datum in self._data_of(view)]

    def write_partial(self, preview: Mapping[str, Any], index: int, kind: str) -> bytes:
        """Return the event of a preview.

        Raises:
            StorageUnavailable: It is gone, or the store cannot be used.
        """
        facts = {
            "b64_json": _text_of(self.store.load(preview["storage_key"])),
            "partial_image_index": index,
            "created_at": _seconds(datetime.now().astimezone()),
            "size": f"{preview['width_px']}x{preview['height_px']}",
            "output_format": _format_of(preview),
            "quality": self.wishes.quality or "auto",
            "background": self.wishes.background or "auto",
        }
        return frame_of(f"{kind}.partial_image", facts)

    def write_task(self, view: JobView) -> dict[str, Any]:
        """Return a job as a task, with its result once it has ended."""
        job, result, error = view.job, None, None
        status = job.status.value if job.status.is_terminal else "processing"
        if status == "completed":
            result = self.write_images(view)
        elif status == "failed":
            error = error_of_job(job.error or {}).body
        return {
            "id": str(job.id),
            "task_id": str(job.id),
            "object": "image.generation.task",
            "status": status,
            "created_at": _seconds(job.created_at),
            "expires_at": self._expiry_of(job),
            "poll_url": self.absolute(self.path_of_task(job.id)),
            "result": result,
            "error": error,
        }

    def path_of_task(self, job_id: UUID) -> str:
        """Return the address of a task, which asks for the form that the request asked for."""
        wanted = self.wishes.response_format
        query = f"?response_format={wanted}" if wanted else ""
        return f"{self.presenter.path_of_task(job_id)}{query}"

    def absolute(self, address: str) -> str:
        """Return an address with its server."""
        return f"{self.base_url}{address}" if address.startswith("/") else address

    def _data_of(self, view: JobView) -> list[dict[str, str]]:
        wanted = self.wishes.response_format
        has_bytes = wanted != "url" and self._fits(view.images)
        data: list[dict[str, str]] = []
        for image, shown in zip(view.images, self.presenter.show(view).images, strict=True):
            datum = {}
            if has_bytes:
                datum["b64_json"] = _text_of(self.store.load(image["storage_key"]))
            if wanted != "b64_json" or not has_bytes:
                datum["url"] = self.absolute(shown.url)
            data.append(datum)
        return data

    def _fits(self, images: Sequence[Mapping[str, Any]]) -> bool:
        length = sum(image["size_bytes"] for image in images) * 4 / 3
        return self.most_bytes is None or length <= self.most_bytes

    def _look_of(self, view: JobView) -> dict[str, str]:
        asked = {"quality": self.wishes.quality, "background": self.wishes.background}
        look = {name: value for name, value in asked.items() if value is not None}
        for image in view.images[:1]:
            look["size"] = f"{image['width_px']}x{image['height_px']}"
            look["output_format"] = _format_of(image)
        return look

    def _expiry_of(self, job: Job) -> int | None:
        if self.retention_days is None:
            return None
        ends_at = job.finished_at or job.created_at
        return _seconds(ends_at + timedelta(days=self.retention_days))


def frame_of(kind: str, facts: Mapping[str, Any]) -> bytes:
    """Return an event of a stream."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **facts})}\n\n".encode()


def _usage_of(attempts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the tokens that the provider billed: none where it bills by other units."""
    billed = [line["units"] or {} for line in attempts if line["charge_state"] == _CHARGED]
    tokens = {
        name: sum(units.get(name, 0) for units in billed)
        for name in ("input_tokens", "output_tokens")
    }
    images = sum(units.get("input_image_tokens", 0) for units in billed)
    details = {"image_tokens": images, "text_tokens": tokens["input_tokens"] - images}
    return {**tokens, "total_tokens": sum(tokens.values()), "input_tokens_details": details}


_CHARGED = ChargeState.CHARGED.value


def _format_of(image: Mapping[str, Any]) -> str:
    return str(image["media_type"]).rpartition("/")[2]


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()
