"""What every provider promises, as one suite: a provider passes it before it is registered.

Subclass `ProviderSuite` and override the fixture `subject`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import uuid4

import pytest

from shared.deadline import Deadline
from shared.errors import (
    AttemptError,
    InvalidRequest,
    JobCancelled,
    LeaseLost,
    PromptRejected,
    ProviderUnavailable,
    SoftTimeLimitReached,
)
from shared.imaging.models import OfferedModel
from shared.imaging.params import ImageOptions, ImageParams
from shared.imaging.pictures import measure
from shared.imaging.provider import (
    ChargeState,
    GeneratedImage,
    ImageProvider,
    PreviewImage,
    ProviderCall,
    Receipt,
    Reference,
)
from shared.imaging.providers.declaration import Offer, ProviderSettings
from shared.imaging.providers.registry import AnyProvider, secret_names
from shared.imaging.service import ImageService
from tests.support.images_api import png

REFERENCE = Reference(png(300, 200), "image/png")
SIZE = "1024x1024"


@dataclass(frozen=True)
class Subject:
    """The provider that the suite is about.

    Attributes:
        rejected: A prompt that it refuses.
        unavailable: A prompt that finds it unavailable.
        shown: A prompt whose image it shows three previews of.
        fewer: A prompt of which it makes two images fewer than asked for.
    """

    declaration: AnyProvider
    settings: ProviderSettings
    rejected: str
    unavailable: str
    shown: str
    fewer: str

    @cached_property
    def provider(self) -> ImageProvider:
        """The provider itself."""
        return self.declaration.connect(self.settings)

    @property
    def offer(self) -> Offer:
        """What its default model offers."""
        return self.declaration.offer(self.settings)

    def call(self, prompt: str = "a mug", n: int = 1, **fields: Any) -> ProviderCall:
        """Return a call for n images of its default model."""
        return call_of(prompt, n, model=self.offer.model, **fields)


def call_of(prompt: str = "a mug", n: int = 1, **fields: Any) -> ProviderCall:
    """Return a call for n images."""
    values: dict[str, Any] = {
        "job_id": uuid4(),
        "model": "mock-1",
        "params": ImageParams(prompt=prompt, n=n, seed=fields.pop("seed", 7)),
        "positions": tuple(range(n)),
        "attempt": 1,
        "step": lambda _share: None,
        "deadline": Deadline(20),
        **fields,
    }
    return ProviderCall(**values)


class ProviderSuite:
    """The tests; each docstring says what the promise is for."""

    @pytest.fixture
    def subject(self) -> Subject:
        """Give the provider."""
        raise NotImplementedError

    def test_images_are_what_they_are_said_to_be(self, subject: Subject) -> None:
        """One a position, decodable, of the size, kind and model that is said."""
        answer = subject.provider.generate(subject.call(n=2))
        assert [image.position for image in answer.images] == [0, 1]
        for image in answer.images:
            found = measure(image.data)
            assert (image.media_type, image.width_px, image.height_px) == (
                found.media_type,
                found.width_px,
                found.height_px,
            )
            assert (image.provider, image.model) == (subject.declaration.name, subject.offer.model)

    def test_an_image_based_on_a_reference_has_the_size_asked_for(self, subject: Subject) -> None:
        """Whatever the size of the reference."""
        answer = subject.provider.generate(subject.call(references=(REFERENCE,)))
        [image] = answer.images
        assert (image.width_px, image.height_px) == (1024, 1024)

    def test_only_missing_positions_are_made(self, subject: Subject) -> None:
        """Under their own numbers."""
        answer = subject.provider.generate(subject.call(positions=(1, 3)))
        assert [image.position for image in answer.images] == [1, 3]

    def test_steps_never_fall_and_stay_within_the_whole(self, subject: Subject) -> None:
        """At least three for one image, which the page shows as progress."""
        shares: list[float] = []
        subject.provider.generate(subject.call(step=shares.append))
        assert shares == sorted(shares)
        assert len(shares) >= 3
        assert all(0 < share <= 1 for share in shares)

    def test_what_a_step_raises_ends_the_call(self, subject: Subject) -> None:
        """Unchanged: the attempt was cancelled."""

        def cancel(_share: float) -> None:
            raise JobCancelled

        with pytest.raises(JobCancelled):
            subject.provider.generate(subject.call(step=cancel))

    def test_deadline_that_has_passed_ends_the_call(self, subject: Subject) -> None:
        """Before anything is sent."""
        with pytest.raises(SoftTimeLimitReached):
            subject.provider.generate(subject.call(deadline=Deadline(0)))

    def test_fewer_images_are_an_answer(self, subject: Subject) -> None:
        """Those that came are kept."""
        answer = subject.provider.generate(subject.call(subject.fewer, n=4))
        assert [image.position for image in answer.images] == [0, 1]

    def test_a_refused_prompt_is_not_tried_again(self, subject: Subject) -> None:
        """It would be refused each time."""
        self._assert_declared(subject, subject.rejected, PromptRejected)

    def test_an_unavailable_provider_is_tried_again(self, subject: Subject) -> None:
        """With the provider's own word for it."""
        self._assert_declared(subject, subject.unavailable, ProviderUnavailable)

    def _assert_declared(self, subject: Subject, prompt: str, kind: type[AttemptError]) -> None:
        with pytest.raises(kind) as raised:
            subject.provider.generate(subject.call(prompt))
        error = raised.value
        assert error.provider_code
        rules = [rule for rule in subject.declaration.errors if rule.kind is kind]
        assert error.charge_state in {rule.charge.value for rule in rules}

    def test_kept_images_are_those_of_the_answer(self, subject: Subject) -> None:
        """A provider that passes them on early passes on the same ones."""
        kept: list[GeneratedImage] = []
        answer = subject.provider.generate(subject.call(n=2, keep=kept.append))
        assert kept in ([], list(answer.images))

    def test_previews_come_before_their_steps(self, subject: Subject) -> None:
        """As many as the model offers, each another; whole, of the position asked for."""
        seen: list[PreviewImage | float] = []
        answer = subject.provider.generate(
            subject.call(subject.shown, positions=(2,), preview=seen.append, step=seen.append)
        )
        count = subject.offer.previews_max
        previews = [each for each in seen if isinstance(each, PreviewImage)]
        assert [type(each) for each in seen[: 2 * count]] == [PreviewImage, float] * count
        assert len({preview.data for preview in previews}) == count
        for preview in previews:
            found = measure(preview.data)
            assert (preview.position, preview.media_type) == (2, found.media_type)
            assert (preview.width_px, preview.height_px) == (found.width_px, found.height_px)
        assert [image.position for image in answer.images] == [2]

    def test_what_a_preview_raises_ends_the_call(self, subject: Subject) -> None:
        """Unchanged: the attempt has lost its lease."""

        def lose(_preview: PreviewImage) -> None:
            raise LeaseLost("gone")

        with pytest.raises(LeaseLost):
            subject.provider.generate(subject.call(subject.shown, preview=lose))

    def test_the_service_passes_on_bill_and_images(self, subject: Subject) -> None:
        """As soon as they are there, in the units and at the price that are declared."""
        billed: list[tuple[ChargeState, Receipt | None]] = []
        job_id = uuid4()
        model = OfferedModel(subject.declaration.name, subject.offer)
        answer = ImageService({model.provider: subject.provider}).process_generation(
            job_id,
            ImageParams.from_row({"prompt": "a mug", "size": SIZE, "n": 2}, job_id),
            model=model,
            positions=(0, 1),
            deadline=Deadline(20),
            on_progress=lambda _progress: None,
            on_bill=lambda state, receipt: billed.append((state, receipt)),
        )
        assert billed[-1:] in ([], [(answer.charge_state, answer.receipt)])
        receipt = answer.receipt
        assert (receipt is None) == (answer.charge_state is ChargeState.NONE)
        if receipt is not None:
            assert receipt.units
            assert receipt.units.keys() <= subject.declaration.units.keys()
            assert receipt.price_microdollars == subject.offer.price_of(SIZE, 2)

    def test_the_model_that_is_asked_offers_something(self, subject: Subject) -> None:
        """And a size that no model has is refused before it is sent."""
        subject.offer.check(ImageOptions(prompt="a mug", size=SIZE))
        with pytest.raises(InvalidRequest, match=f"size: {subject.offer.model} offers"):
            subject.offer.check(ImageOptions(prompt="a mug", size="9999x9999"))

    def test_settings_bear_the_name_of_the_provider(self, subject: Subject) -> None:
        """Each is described, and each secret may come from a file."""
        shared = ProviderSettings.model_fields
        own = {
            name: field
            for name, field in subject.declaration.settings.model_fields.items()
            if name not in shared
        }
        assert all(name.startswith(f"{subject.declaration.name}_") for name in own)
        assert all((field.description or "").endswith(".") for field in own.values())
        for secret in secret_names([subject.declaration]):
            assert f"{secret}_file" in own

    def test_what_must_be_set_is_named(self, subject: Subject) -> None:
        """A worker refuses to start without it."""
        assert set(subject.declaration.required) <= set(type(subject.settings).model_fields)
