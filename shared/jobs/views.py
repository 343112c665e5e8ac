"""Jobs as clients see them: with their ledger and their images; alone, in pages, or in bulk.

The API shows them as `shared.api.schemas.JobBody`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Engine

from shared.database.session import naming_missing_schema
from shared.database.statements import Statements
from shared.errors import UnknownImage, UnknownJob, UnknownPreview
from shared.jobs.job_store import job_of
from shared.jobs.model import Job
from shared.jobs.release_store import ReleaseRules
from shared.status import JobStatus

PLACES_COUNTED = 500
"""Jobs that may be ahead of a waiting one whose place is known."""

WORKSPACES_COMPARED = 50
"""Workspaces that may wait while a place is known."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job waits.

    Attributes:
        ahead: Jobs that start before it; None for more than are counted.
        seconds: About how long until it starts; None where that is not known.
    """

    ahead: int | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class JobView:
    """A job, the lines of its ledger by number, its images and previews by position.

    Attributes:
        place: Of a job that was read alone and waits for its first attempt.
    """

    job: Job
    attempts: Sequence[Mapping[str, Any]] = ()
    images: Sequence[Mapping[str, Any]] = ()
    previews: Sequence[Mapping[str, Any]] = ()
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which jobs of a workspace are asked for: those before `before`, newest first.

    Attributes:
        statuses: Any of these; None for all.
        before: Time and id of the last job of the page before.
        metadata: What the job's metadata must hold; a value of None is any.
        by_end: Whether they are sorted by their end, instead of their creation.
    """

    limit: int
    statuses: Sequence[JobStatus] | None = None
    product_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    before: tuple[datetime, UUID] | None = None
    job_id: UUID | None = None
    model: str | None = None
    user_id: str | None = None
    error_code: str | None = None
    finished_after: datetime | None = None
    metadata: Mapping[str, str | None] = field(default_factory=dict)
    by_end: bool = False

    def as_parameters(self) -> dict[str, Any]:
        """Return the parameters of `find_views`: with a filter, each status is read by itself."""
        filters = {
            "product_id": self.product_id,
            "user_id": self.user_id,
            "model": self.model,
            "error_code": self.error_code,
            "finished_after": self.finished_after,
            "metadata": None,
            "metadata_keys": list(self.metadata),
        }
        if self.metadata:
            values = {name: value for name, value in self.metadata.items() if value is not None}
            filters["metadata"] = json.dumps(values)
        statuses = self.statuses or (list(JobStatus) if any(filters.values()) else ())
        before_time, before_id = self.before or (None, None)
        return filters | {
            "id": self.job_id and str(self.job_id),
            "statuses": [status.name for status in statuses] or None,
            "created_after": self.created_after,
            "created_before": self.created_before,
            "before_time": before_time,
            "before_id": before_id and str(before_id),
            "by_end": self.by_end,
            "limit": self.limit,
        }


@dataclass(frozen=True, slots=True)
class ImageView:
    """Where the bytes of an image lie, and what they are."""

    job_id: str
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

    def __init__(self, engine: Engine, rules: ReleaseRules) -> None:
        self._run = Statements(engine, __file__)
        self._rules = rules

    def get(self, job_id: UUID, workspace_id: str) -> JobView:
        """Return a job of the workspace.

        Raises:
            UnknownJob: There is none.
        """
        views = self.page(workspace_id, PageQuery(limit=1, job_id=job_id))
        if not views:
            raise UnknownJob(job_id)
        view = views[0]
        job = view.job
        if job.status is not JobStatus.PENDING or job.next_attempt_at is not None:
            return view
        return replace(view, place=self._find_place(job_id))

    def page(self, workspace_id: str, query: PageQuery) -> list[JobView]:
        """Return jobs of the workspace, newest first.

        Stable: jobs that are created meanwhile come before the first page, never into a later.
        """
        parameters = {"workspace_id": workspace_id, **query.as_parameters()}
        return [_view_of(row) for row in self._run("find_views", parameters)]

    def _find_place(self, job_id: UUID) -> Place | None:
        parameters = {
            "id": str(job_id),
            "limit": PLACES_COUNTED,
            "workspaces": WORKSPACES_COMPARED,
            **self._rules.as_parameters(),
        }
        rows = self._run("find_place", parameters)
        return Place(rows[0].ahead, rows[0].seconds) if rows else None

    def get_image(self, image_id: UUID, workspace_id: str | None = None) -> ImageView:
        """Return an image; with a workspace, only if it belongs to it.

        Raises:
            UnknownImage: There is none.
        """
        parameters = {"id": str(image_id), "workspace_id": workspace_id}
        rows = self._run("find_image", parameters)
        if not rows:
            raise UnknownImage(image_id)
        return ImageView(*rows[0])

    def get_preview(self, preview_id: UUID, workspace_id: str | None = None) -> PreviewView:
        """Return a preview of a running attempt; with a workspace, only if it belongs to it.

        Raises:
            UnknownPreview: There is none (any more).
        """
        parameters = {"id": str(preview_id), "workspace_id": workspace_id}
        rows = self._run("find_preview", parameters)
        if not rows:
            raise UnknownPreview(preview_id)
        return PreviewView(*rows[0])

    def check(self) -> None:
        """Make a round trip to PostgreSQL and to the tables of this version.

        Raises:
            SchemaMissing: They are not there, or are older.
        """
        with naming_missing_schema():
            self._run("check_schema", {})


def _view_of(row: Any) -> JobView:
    return JobView(job_of(row), row.attempts, row.images, row.previews)
