"""The image service: calls the provider for a job's images and checks the answer.

Called by `shared.generation.handler`, once an attempt.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

import structlog

from shared.deadline import Deadline
from shared.errors import ImagesMissing, InvalidRequest, UnexpectedError
from shared.imaging.containers import NotAPicture, check_mask
from shared.imaging.media_types import media_type_of
from shared.imaging.models import OfferedModel
from shared.imaging.params import ImageParams
from shared.imaging.provider import (
    ChargeState,
    GeneratedImage,
    ImageProvider,
    PreviewImage,
    ProviderAnswer,
    ProviderCall,
    PurchaseLedger,
    Receipt,
    Reference,
    UnkeptPurchases,
    ignore,
)

PROGRESS_BEFORE_PROVIDER = 10
PROGRESS_AFTER_PROVIDER = 90

Image = TypeVar("Image", GeneratedImage, PreviewImage)

_log = structlog.get_logger(__name__)


class ImageService:
    """Makes the images of jobs with the provider of the model that each asks for.

    Args:
        providers: By their names.
    """

    def __init__(self, providers: Mapping[str, ImageProvider]) -> None:
        self._providers = providers

    def process_generation(
        self,
        job_id: UUID,
        params: ImageParams,
        *,
        model: OfferedModel,
        positions: tuple[int, ...],
        attempt: int = 1,
        idempotency_key: str = "",
        references: Sequence[bytes] = (),
        mask: bytes | None = None,
        deadline: Deadline,
        on_progress: Callable[[int], None],
        on_bill: Callable[[ChargeState, Receipt | None], None] = ignore,
        on_image: Callable[[GeneratedImage], None] = ignore,
        on_preview: Callable[[PreviewImage], None] = ignore,
        purchases: PurchaseLedger | None = None,
    ) -> ProviderAnswer:
        """Make images of a job; the answer has at least one, and none that was not asked for.

        Args:
            job_id: The job.
            params: What to show, and in which size.
            model: Which model of which provider makes them.
            positions: The images to make, at least one.
            attempt: The attempt this belongs to, from 1.
            idempotency_key: What the provider may know the call by; see `ProviderCall`.
            references: The files of what the images are based on; `InvalidRequest` if one is none.
            mask: The file of a mask of the first one, which must fit.
            deadline: Bounds the provider's calls.
            on_progress: Receives 10 to 90, never falling, at each step; may raise to end the call.
            on_bill: Receives what is known of the bill, as soon as it is.
            on_image: Receives each usable image as soon as it is whole; the answer has them, too.
            on_preview: Receives each preview, before the progress that it shows.
            purchases: Keeps what is bought of a provider that makes images later.
        """
        call = ProviderCall(
            *(job_id, model.name, params, positions, attempt),
            idempotency_key=idempotency_key,
            references=tuple(map(_reference_of, references)),
            mask=None if mask is None else _mask_of(mask, references[0]),
            step=_progress_of(on_progress),
            deadline=deadline,
            bill=on_bill,
            keep=_only_usable(on_image, positions),
            preview=_only_usable(on_preview, positions),
            purchases=purchases or UnkeptPurchases(),
        )
        return _check_answer(self._providers[model.provider].generate(call), positions)


def _reference_of(data: bytes) -> Reference:
    media_type = media_type_of(data)
    if media_type is None:
        raise InvalidRequest("source_asset_id: the bytes of the asset are not an image")
    return Reference(data, media_type)


def _mask_of(data: bytes, first: bytes) -> Reference:
    try:
        check_mask(data, first)
    except NotAPicture as error:
        raise InvalidRequest(f"mask_asset_id: {error}") from error
    return _reference_of(data)


def _only_usable(
    receive: Callable[[Image], None], asked: tuple[int, ...]
) -> Callable[[Image], None]:
    """Return a function that passes on images that were asked for and are what they say."""

    def check(image: Image) -> None:
        if image.position in asked and _is_usable(image):
            receive(image)

    return check


def _progress_of(on_progress: Callable[[int], None]) -> Callable[[float], None]:
    """Return a function that turns the provider's share done into the progress of the job."""
    progress = PROGRESS_BEFORE_PROVIDER

    def step(share_done: float) -> None:
        nonlocal progress
        span = PROGRESS_AFTER_PROVIDER - PROGRESS_BEFORE_PROVIDER
        # A provider may report less than before; the job's progress never falls.
        progress = max(progress, int(PROGRESS_BEFORE_PROVIDER + span * min(share_done, 1.0)))
        on_progress(progress)

    return step


def _check_answer(answer: ProviderAnswer, asked: tuple[int, ...]) -> ProviderAnswer:
    charge_state = answer.charge_state.value
    positions = [image.position for image in answer.images]
    if len(set(positions)) != len(positions) or not set(positions) <= set(asked):
        raise UnexpectedError(
            f"the provider returned images {positions} where {list(asked)} were asked for",
            charge_state=charge_state,
        )
    # An unusable image counts as missing: those beside it may be paid for, and are kept.
    usable = tuple(image for image in answer.images if _is_usable(image))
    if not usable:
        raise ImagesMissing(len(asked), len(asked), charge_state=charge_state)
    return ProviderAnswer(usable, answer.charge_state, answer.receipt)


def _is_usable(image: PreviewImage) -> bool:
    """Whether the bytes begin as their media type says."""
    if media_type_of(image.data) == image.media_type:
        return True
    _log.warning(
        "image_unusable",
        position=image.position,
        media_type=image.media_type,
        size_bytes=len(image.data),
    )
    return False
