"""The image service, with providers that answer as each test asks."""

from collections.abc import Callable
from uuid import UUID

import pytest

from shared.deadline import Deadline
from shared.errors import ImagesMissing, LeaseLost, UnexpectedError
from shared.imaging.models import OfferedModel
from shared.imaging.params import ImageParams
from shared.imaging.provider import (
    ChargeState,
    GeneratedImage,
    PreviewImage,
    ProviderAnswer,
    ProviderCall,
)
from shared.imaging.providers.declaration import Offer
from shared.imaging.service import ImageService
from tests.support.provider_suite import call_of

JOB_ID = UUID(int=9)
PNG = b"\x89PNG\r\n\x1a\nrest"
JPEG = b"\xff\xd8\xff\xe0rest"
WEBP = b"RIFF\x00\x00\x00\x00WEBPrest"


FAKE = OfferedModel("fake", Offer("fake-1"))


def build_image(position: int, data: bytes = PNG, media_type: str = "image/png") -> GeneratedImage:
    """Return an image of a position."""
    return GeneratedImage(position, data, media_type, 256, 256, 1, "fake", "fake-1")


class FakeProvider:
    """Returns the given answer, after the given steps."""

    def __init__(
        self,
        *images: GeneratedImage,
        steps: tuple[float, ...] = (),
        previews: tuple[PreviewImage, ...] = (),
        charge_state: ChargeState = ChargeState.CHARGED,
        error: Exception | None = None,
    ) -> None:
        self.calls: list[ProviderCall] = []
        self._answer = ProviderAnswer(images, charge_state)
        self._steps = steps
        self._previews = previews
        self._error = error

    def generate(self, call: ProviderCall) -> ProviderAnswer:
        """Make the steps, then return the answer or raise."""
        self.calls.append(call)
        for preview in self._previews:
            call.preview(preview)
        for share in self._steps:
            call.step(share)
        if self._error is not None:
            raise self._error
        return self._answer


def process(
    provider: FakeProvider,
    on_progress: Callable[[int], None] = lambda _progress: None,
    positions: tuple[int, ...] = (0, 1),
    attempt: int = 1,
) -> ProviderAnswer:
    """Run the service on two images of a mug."""
    params = {"prompt": "a mug", "size": "512x512", "style": "outdoor", "n": 2, "seed": 40}
    return ImageService({"fake": provider}).process_generation(
        JOB_ID,
        ImageParams.from_row(params, JOB_ID),
        model=FAKE,
        positions=positions,
        attempt=attempt,
        deadline=Deadline(60),
        on_progress=on_progress,
    )


def test_provider_is_asked_for_what_the_params_say() -> None:
    """The call carries the params, all positions and the attempt."""
    provider = FakeProvider(build_image(0), build_image(1))
    answer = process(provider, attempt=2)
    (call,) = provider.calls
    assert (call.job_id, call.model, call.params.prompt) == (JOB_ID, "fake-1", "a mug")
    assert (call.params.style, call.params.size_px, call.params.seed) == ("outdoor", (512, 512), 40)
    assert (call.positions, call.attempt) == ((0, 1), 2)
    assert [image.position for image in answer.images] == [0, 1]
    assert answer.charge_state is ChargeState.CHARGED


def test_only_missing_positions_are_asked_for() -> None:
    """Images that are already saved are not paid for again."""
    provider = FakeProvider(build_image(1))
    process(provider, positions=(1,))
    assert provider.calls[0].positions == (1,)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((0.25, 0.5, 0.75, 1.0), [30, 50, 70, 90]),
        ((0.0, 0.333, 1.0), [10, 36, 90]),
        ((0.5, 0.25, 0.5), [50, 50, 50]),
        ((7.0,), [90]),
    ],
)
def test_steps_become_progress_that_never_falls(
    steps: tuple[float, ...], expected: list[int]
) -> None:
    """The share done becomes 10 to 90, whatever the provider says."""
    seen: list[int] = []
    process(FakeProvider(build_image(0), steps=steps), seen.append)
    assert seen == expected


def test_what_on_progress_raises_ends_the_call() -> None:
    """A lost lease passes through the provider and the service."""

    def lose_lease(_progress: int) -> None:
        raise LeaseLost("gone")

    with pytest.raises(LeaseLost):
        process(FakeProvider(build_image(0), steps=(0.5,)), lose_lease)


def test_fewer_images_than_asked_are_returned_as_they_are() -> None:
    """What is missing is the handler's decision."""
    answer = process(FakeProvider(build_image(1)))
    assert [image.position for image in answer.images] == [1]


def test_answer_without_images_is_an_error_that_knows_the_charge() -> None:
    """No image at all means all are missing, perhaps paid."""
    with pytest.raises(ImagesMissing, match=r"2 of 2 images") as raised:
        process(FakeProvider())
    assert (raised.value.missing, raised.value.charge_state) == (2, "charged")


@pytest.mark.parametrize("positions", [(0, 0), (2,), (-1,), (0, 5)])
def test_images_that_were_not_requested_are_an_internal_error(positions: tuple[int, ...]) -> None:
    """A provider that mixes up positions would overwrite a wrong row."""
    with pytest.raises(UnexpectedError, match=r"returned images \[.*\] where \[0, 1\]") as raised:
        process(FakeProvider(*map(build_image, positions)))
    assert raised.value.charge_state == "charged"


@pytest.mark.parametrize(
    ("data", "media_type"), [(PNG, "image/png"), (JPEG, "image/jpeg"), (WEBP, "image/webp")]
)
def test_bytes_of_the_three_formats_are_usable(data: bytes, media_type: str) -> None:
    """PNG, JPEG and WebP are known by their signatures."""
    answer = process(FakeProvider(build_image(0, data, media_type)))
    assert answer.images[0].data == data


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"", "image/png"),
        (b"<html>", "image/png"),
        (JPEG, "image/png"),
        (PNG, "image/jpeg"),
        (b"RIFF\x00\x00\x00\x00WAVE", "image/webp"),
        (PNG, "image/gif"),
    ],
)
def test_unusable_bytes_count_as_missing_beside_good_ones(data: bytes, media_type: str) -> None:
    """The good images of the answer are kept; the bad one may come with another attempt."""
    good = build_image(0)
    answer = process(FakeProvider(good, build_image(1, data, media_type)))
    assert answer.images == (good,)


def test_only_unusable_bytes_are_no_images() -> None:
    """An answer of nothing but bad bytes is an answer without images."""
    with pytest.raises(ImagesMissing):
        process(FakeProvider(build_image(0, b"")))


def test_only_whole_previews_that_were_asked_for_are_handed_on() -> None:
    """What is none is no fault of the job's."""
    good = PreviewImage(1, PNG, "image/png", 64, 64)
    others = (
        PreviewImage(2, PNG, "image/png", 64, 64),
        PreviewImage(0, b"<html>", "image/png", 64, 64),
    )
    shown: list[PreviewImage] = []
    provider = FakeProvider(build_image(0), previews=(*others, good))
    ImageService({"fake": provider}).process_generation(
        JOB_ID,
        ImageParams.from_row({"prompt": "a mug", "n": 2}, JOB_ID),
        model=FAKE,
        positions=(0, 1),
        deadline=Deadline(60),
        on_progress=lambda _progress: None,
        on_preview=shown.append,
    )
    assert shown == [good]


def test_what_on_preview_raises_ends_the_call() -> None:
    """A lease may be found to be lost there too."""

    def lose_lease(_preview: PreviewImage) -> None:
        raise LeaseLost("gone")

    provider = FakeProvider(build_image(0), previews=(PreviewImage(0, PNG, "image/png", 64, 64),))
    with pytest.raises(LeaseLost):
        ImageService({"fake": provider}).process_generation(
            JOB_ID,
            ImageParams.from_row({"prompt": "a mug"}, JOB_ID),
            model=FAKE,
            positions=(0,),
            deadline=Deadline(60),
            on_progress=lambda _progress: None,
            on_preview=lose_lease,
        )


def test_unknown_fault_of_a_provider_passes() -> None:
    """The attempt boundary of the handler is the place for it."""
    with pytest.raises(ZeroDivisionError):
        process(FakeProvider(error=ZeroDivisionError()))


def test_seed_of_an_image_is_a_seed_that_a_request_may_name() -> None:
    """Images count up from the job's seed and wrap around at the limit."""
    assert (call_of(seed=7).seed_of(0), call_of(seed=7).seed_of(3)) == (7, 10)
    assert call_of(seed=2**31 - 1).seed_of(1) == 0
