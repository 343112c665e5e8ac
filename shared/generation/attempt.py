"""One attempt on its way: what the steps of the handler pass on to each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from shared.deadline import Deadline
from shared.errors import AttemptError, DarkroomError
from shared.events.attempt_events import AttemptEvents
from shared.generation.lease import HeldLease
from shared.generation.previews import AttemptPreviews
from shared.generation.progress import AttemptProgress
from shared.imaging.params import ImageParams
from shared.imaging.provider import ChargeState, Receipt
from shared.imaging.store import StoredImage
from shared.jobs.model import Claim, LedgerFacts


@dataclass(slots=True)
class RunningAttempt:
    """The state of one attempt, from its claim to its end.

    Attributes:
        saved: Images whose bytes are kept, by position; some may be an earlier attempt's.
        is_sent: Whether the provider was called: from then on the attempt counts.
        charge_state: What is known so far of the provider's bill.
        receipt: What the call cost, as soon as the provider has said it.
    """

    claim: Claim
    deadline: Deadline
    lease: HeldLease
    events: AttemptEvents
    progress: AttemptProgress
    previews: AttemptPreviews
    saved: dict[int, StoredImage] = field(default_factory=dict)
    is_sent: bool = False
    charge_state: ChargeState = ChargeState.NONE
    receipt: Receipt | None = None
    request_id: str | None = None

    @property
    def wanted(self) -> int:
        """How many images the job asked for."""
        return ImageParams.from_row(self.claim.params, self.claim.job_id).n

    def missing_positions(self) -> list[int]:
        """Return the positions whose bytes nobody has yet."""
        return [position for position in range(self.wanted) if position not in self.saved]

    def note_sent(self) -> None:
        """Note that the provider is being called; whatever follows may be billed."""
        self.is_sent = True
        self.charge_state = ChargeState.UNKNOWN

    def note_bill(self, charge_state: ChargeState, receipt: Receipt | None) -> None:
        """Take over what the provider has said of the bill."""
        self.charge_state = charge_state
        self.receipt = receipt or self.receipt

    def note_charge(self, error: DarkroomError) -> None:
        """Take over what an error knows of the bill."""
        if not isinstance(error, AttemptError):
            return
        if error.charge_state is not None:
            self.charge_state = ChargeState(error.charge_state)
        self.request_id = error.request_id or self.request_id

    def ledger_facts(self) -> LedgerFacts:
        """Return what the ledger shall say of the bill."""
        receipt = self.receipt
        if receipt is None:
            return LedgerFacts(self.charge_state.value, self.request_id)
        return LedgerFacts(
            self.charge_state.value,
            receipt.request_id or self.request_id,
            receipt.units,
            receipt.price_microdollars,
        )


def image_rows(saved: Mapping[int, StoredImage]) -> list[dict[str, Any]]:
    """Return the columns of the rows of `images`, each with an id and a stable path of its own."""
    return [_image_row(saved[position], uuid4()) for position in sorted(saved)]


def result_of(rows: list[dict[str, Any]], missing: int) -> dict[str, Any]:
    """Return the `result` of a job: its images as clients see them, and how many are missing."""
    shown = ("id", "position", "url", "media_type", "width_px", "height_px")
    return {"images": [{name: row[name] for name in shown} for row in rows], "missing": missing}


def _image_row(image: StoredImage, image_id: UUID) -> dict[str, Any]:
    return {
        "id": str(image_id),
        "url": f"/v1/images/{image_id}",
        "position": image.position,
        "storage_key": image.storage_key,
        "media_type": image.media_type,
        "width_px": image.width_px,
        "height_px": image.height_px,
        "size_bytes": image.size_bytes,
        "sha256": image.sha256,
        "seed": image.seed,
        "provider": image.provider,
        "model": image.model,
    }
