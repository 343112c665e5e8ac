"""Jobs as clients see them: with their ledger and their images; alone, in pages, or in bulk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from shared.database.statements import Statements
from shared.errors import UnknownImage, UnknownJob, UnknownPreview
from shared.jobs.job_store import job_of
from shared.jobs.model import Job
from shared.status import JobStatus


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
    job_id: UUID | None = None


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
        self._run = Statements(engine, __file__)

    def get(self, job_id: UUID, workspace_id: str) -> JobView:
        """Return a job of the workspace.

        Raises:
            UnknownJob: There is none.
        """
        views = self.page(workspace_id, PageQuery(limit=1, job_id=job_id))
        if not views:
            raise UnknownJob(job_id)
        return views[0]

    def page(self, workspace_id: str, query: PageQuery) -> list[JobView]:
        """Return jobs of the workspace, newest first.

        Stable: jobs that are created meanwhile come before the first page, never into a later.
        """
        before_time, before_id = query.before or (None, None)
        parameters = {
            "workspace_id": workspace_id,
            "id": query.job_id and str(query.job_id),
            "statuses": [status.name for status in query.statuses or ()] or None,
            "product_id": query.product_id,
            "created_after": query.created_after,
            "created_before": query.created_before,
            "before_time": before_time,
            "before_id": before_id and str(before_id),
            "limit": query.limit,
        }
        return [_view_of(row) for row in self._run("find_views", parameters)]

    def get_image(self, image_id: UUID, workspace_id: str | None = None) -> ImageView:
        """Return an image; with a workspace, only if it belongs to it.

        Raises:
            UnknownImage: There is none.
        """
        parameters = {"id": str(image_id), "workspace_id": workspace_id}
        rows = self._run("find_image", parameters)
        if not rows:
            raise UnknownImage(image_id)
        row = rows[0]
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
        rows = self._run("find_preview", parameters)
        if not rows:
            raise UnknownPreview(preview_id)
        return PreviewView(rows[0].storage_key, rows[0].media_type)

    def check(self) -> None:
        """Make a round trip to PostgreSQL and to the tables of this version."""
        self._run("check_schema", {})


def _view_of(row: Any) -> JobView:
    return JobView(job_of(row), row.attempts, row.images, row.previews)
