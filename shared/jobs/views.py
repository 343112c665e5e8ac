"""Jobs as clients see them: with their ledger and their images; alone, in pages, or in bulk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from shared.database.statements import execute, fetch_all, fetch_one
from shared.errors import UnknownImage, UnknownJob, UnknownPreview
from shared.jobs.model import Job
from shared.jobs.store import JOB_COLUMNS, job_of
from shared.status import JobStatus

# Of the attempt that runs now: what an earlier one had to show will never be a picture, and may
# be one that was withheld.
_IS_SHOWN = "job.status = 'PROCESSING' AND preview.token = job.lease_token"

_VIEW = f"""
    SELECT {JOB_COLUMNS},
        (SELECT coalesce(jsonb_agg(jsonb_build_object(
                'number', number, 'started_at', line.started_at, 'finished_at', line.finished_at,
                'outcome', outcome, 'charge_state', charge_state, 'error', line.error,
                'provider', line.provider, 'model', line.model,
                'request_id', provider_request_id, 'units', units,
                'price_microdollars', price_microdollars
            ) ORDER BY number), '[]')
            FROM generation_attempts line WHERE line.job_id = job.id) AS attempts,
        (SELECT coalesce(jsonb_agg(jsonb_build_object(
                'id', image.id, 'position', position, 'media_type', media_type,
                'width_px', width_px, 'height_px', height_px, 'size_bytes', size_bytes,
                'sha256', sha256, 'seed', seed, 'provider', provider, 'model', model
            ) ORDER BY position), '[]')
            FROM images image WHERE image.job_id = job.id) AS images,
        (SELECT coalesce(jsonb_agg(jsonb_build_object(
                'id', preview.id, 'position', position, 'number', number,
                'media_type', media_type, 'width_px', width_px, 'height_px', height_px
            ) ORDER BY position), '[]')
            FROM previews preview WHERE preview.job_id = job.id AND {_IS_SHOWN}) AS previews
    FROM generation_jobs job
"""

_GET = f"{_VIEW} WHERE id = %(id)s AND workspace_id = %(workspace_id)s"

# Each filter that is None lets everything pass.
_PAGE = f"""{_VIEW}
    WHERE workspace_id = %(workspace_id)s
        AND (%(statuses)s::text[] IS NULL OR status::text = ANY(%(statuses)s))
        AND (%(product_id)s IS NULL OR product_id = %(product_id)s)
        AND (%(created_after)s::timestamptz IS NULL OR created_at > %(created_after)s)
        AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
        AND (%(before_time)s::timestamptz IS NULL
            OR (created_at, id) < (%(before_time)s, %(before_id)s::uuid))
    ORDER BY created_at DESC, id DESC LIMIT %(limit)s
"""

_GET_IMAGE = """
    SELECT image.id, image.storage_key, image.media_type, image.sha256, image.job_id, position
    FROM images image JOIN generation_jobs job ON job.id = image.job_id
    WHERE image.id = %(id)s
        AND (%(workspace_id)s IS NULL OR job.workspace_id = %(workspace_id)s)
"""

_GET_PREVIEW = f"""
    SELECT preview.storage_key, preview.media_type
    FROM previews preview JOIN generation_jobs job ON job.id = preview.job_id
    WHERE preview.id = %(id)s AND {_IS_SHOWN}
        AND (%(workspace_id)s IS NULL OR job.workspace_id = %(workspace_id)s)
"""


@dataclass(frozen=True, slots=True)
class JobView:
    """A job, the lines of its ledger by number, its images and previews by position."""

    job: Job
    attempts: Sequence[Mapping[str, Any]] = ()
    images: Sequence[Mapping[str, Any]] = ()
    previews: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which jobs of a workspace are asked for: those created before `before`, newest first.

    Attributes:
        statuses: Any of these; None for all.
        before: Creation time and id of the last job of the page before.
    """

    limit: int
    statuses: Sequence[JobStatus] | None = None
    product_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    before: tuple[datetime, UUID] | None = None


@dataclass(frozen=True, slots=True)
class ImageView:
    """Where the bytes of an image lie, and what they are."""

    id: UUID
    job_id: UUID
    position: int
    storage_key: str
    media_type: str
    sha256: str


@dataclass(frozen=True, slots=True)
class PreviewView:
    """Where the bytes of a preview lie, and what they are."""

    storage_key: str
    media_type: str


class JobViews:
    """Reads jobs; every method raises ServiceUnavailable when PostgreSQL cannot be reached."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def get(self, job_id: UUID, workspace_id: str) -> JobView:
        """Return a job of the workspace.

        Raises:
            UnknownJob: There is none.
        """
        row = fetch_one(self._engine, _GET, {"id": str(job_id), "workspace_id": workspace_id})
        if row is None:
            raise UnknownJob(job_id)
        return _view_of(row)

    def page(self, workspace_id: str, query: PageQuery) -> list[JobView]:
        """Return jobs of the workspace, newest first.

        Stable: jobs that are created meanwhile come before the first page, never into a later.
        """
        before_time, before_id = query.before or (None, None)
        parameters = {
            "workspace_id": workspace_id,
            "statuses": _names(query.statuses),
            "product_id": query.product_id,
            "created_after": query.created_after,
            "created_before": query.created_before,
            "before_time": before_time,
            "before_id": before_id and str(before_id),
            "limit": query.limit,
        }
        return [_view_of(row) for row in fetch_all(self._engine, _PAGE, parameters)]

    def get_image(self, image_id: UUID, workspace_id: str | None = None) -> ImageView:
        """Return an image; with a workspace, only if it belongs to it.

        Raises:
            UnknownImage: There is none.
        """
        parameters = {"id": str(image_id), "workspace_id": workspace_id}
        row = fetch_one(self._engine, _GET_IMAGE, parameters)
        if row is None:
            raise UnknownImage(image_id)
        return ImageView(
            UUID(str(row.id)),
            UUID(str(row.job_id)),
            row.position,
            row.storage_key,
            row.media_type,
            row.sha256,
        )

    def get_preview(self, preview_id: UUID, workspace_id: str | None = None) -> PreviewView:
        """Return a preview of a running attempt; with a workspace, only if it belongs to it.

        Raises:
            UnknownPreview: There is none (any more).
        """
        parameters = {"id": str(preview_id), "workspace_id": workspace_id}
        row = fetch_one(self._engine, _GET_PREVIEW, parameters)
        if row is None:
            raise UnknownPreview(preview_id)
        return PreviewView(row.storage_key, row.media_type)

    def check(self) -> None:
        """Make a round trip to PostgreSQL and to the tables of this version."""
        execute(self._engine, "SELECT 1 FROM previews LIMIT 1", {})


def _names(statuses: Sequence[JobStatus] | None) -> list[str] | None:
    return [status.name for status in statuses] if statuses else None


def _view_of(row: Any) -> JobView:
    values = row._asdict()
    shown = [values.pop(name) for name in ("attempts", "images", "previews")]
    return JobView(job_of(values), *shown)
