"""The rows of previews: what the pictures of a running attempt look like so far.

One row a position, written by the attempt that holds the job and shown while it does: see
`shared.jobs.views`. A plain job has none, and no statement is spent on it.
"""

from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import Engine

from shared.database.statements import Statements
from shared.errors import LeaseLost
from shared.jobs.model import Claim


@dataclass(frozen=True, slots=True)
class StoredPreview:
    """Where a preview lies, and what it is."""

    position: int
    storage_key: str
    media_type: str
    width_px: int
    height_px: int


class PreviewStore:
    """Notes what attempts have to show; each method is one statement.

    Every method raises ServiceUnavailable when PostgreSQL cannot be reached.
    """

    def __init__(self, engine: Engine) -> None:
        self._run = Statements(engine, __file__)

    def note(self, claim: Claim, preview: StoredPreview) -> None:
        """Note a preview in place of the one that its position had.

        Raises:
            LeaseLost: Another worker owns the job, or it has ended.
        """
        parameters = {
            "preview_id": str(uuid4()),
            "id": str(claim.job_id),
            "token": claim.token,
            "position": preview.position,
            "storage_key": preview.storage_key,
            "media_type": preview.media_type,
            "width_px": preview.width_px,
            "height_px": preview.height_px,
        }
        if not self._run("note_preview", parameters):
            raise LeaseLost(f"attempt {claim.attempt} of job {claim.job_id} lost its lease")

    def forget(self, claim: Claim) -> None:
        """Forget what this attempt had to show."""
        self._run("forget_previews", {"id": str(claim.job_id), "token": claim.token})
