"""What a provider declares of itself: settings, models, prices, errors. `registry` lists them.

A declaration is read at the start of every process, so its module imports no SDK and no
drawing library: `build` does, in the processes that run jobs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Generic, Literal, Self, TypeVar

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from shared.errors import ConfigurationError, InvalidRequest
from shared.imaging.params import AUTO, IMAGES_MAX, SIZE_NAMES, ImageOptions
from shared.imaging.provider import ImageProvider
from shared.imaging.providers.error_rules import ErrorRule
from shared.setting_types import STRICT, NumberTable

PriceOf = Callable[..., int | None]
"""The price of some images of one size, in micro-dollars; None where it is not known.

A model with qualities takes that of a request as `quality`.
"""

ANY = ("*",)
"""Of a model of which nothing is known: it may have every value."""


def unknown_price(_size: str, _images: int, *, quality: str = "") -> int | None:
    """Know no price."""
    return None


@dataclass(frozen=True, slots=True)
class FreeSizes:
    """The sizes that a model makes besides those it names.

    Attributes:
        step_px: Width and height are multiples of it.
        longest_px: Of the longer side.
        pixels_min: Of the whole image.
        pixels_max: Likewise.
        ratio_max: Of the longer side to the other one.
    """

    step_px: int
    longest_px: int
    pixels_min: int
    pixels_max: int
    ratio_max: int

    def has(self, size: str) -> bool:
        """Return whether `WIDTHxHEIGHT` is one of them."""
        shorter, longer = sorted(int(side) for side in size.split("x"))
        return (
            shorter % self.step_px == longer % self.step_px == 0
            and longer <= self.longest_px
            and longer <= self.ratio_max * shorter
            and self.pixels_min <= shorter * longer <= self.pixels_max
        )

    def __str__(self) -> str:
        """Return what they are, in words."""
        pixels = f"{self.pixels_min} to {self.pixels_max} pixels"
        return f"multiples of {self.step_px} up to {self.longest_px}, 1:{self.ratio_max}, {pixels}"


@dataclass(frozen=True, slots=True)
class Offer:
    """What one model, or a family of models, offers.

    Attributes:
        model: The name of the model; a provider declares families such as `gpt-image-*`.
        sizes: By name; `auto` lets the model choose.
        free_sizes: Others that it makes; None: no others.
        images_max: How many images one call makes.
        previews_max: How many previews of an image the model shows; 0 means none.
        references_max: How many reference pictures it takes.
        takes_mask: Whether a mask may say what of the first one is changed.
        qualities: Which may be chosen, besides `auto`; none: there is no choice.
        backgrounds: Likewise.
        output_formats: Likewise; the files of JPEG and WebP may be compressed.
        moderations: Likewise.
    """

    model: str
    sizes: Sequence[str] = SIZE_NAMES
    images_max: int = IMAGES_MAX
    previews_max: int = 0
    references_max: int = 1
    takes_mask: bool = False
    price_of: PriceOf = unknown_price
    free_sizes: FreeSizes | None = None
    qualities: Sequence[str] = ()
    backgrounds: Sequence[str] = ()
    output_formats: Sequence[str] = ()
    moderations: Sequence[str] = ()

    @property
    def shown(self) -> Mapping[str, object]:
        """What clients may know of it."""
        return {
            "sizes": list(self.sizes),
            "free_sizes": None if self.free_sizes is None else str(self.free_sizes),
            "images_max": self.images_max,
            "previews_max": self.previews_max,
            "takes_reference": self.references_max > 0,
            "references_max": self.references_max,
            "takes_mask": self.takes_mask,
            **{name: list(getattr(self, name)) for name in _CHOICES.values()},
        }

    def priced(self, quality: str | None) -> PriceOf:
        """Return the prices of a quality; None: of the one that the settings name."""
        has_choice = quality not in (None, AUTO) and self.qualities
        return partial(self.price_of, quality=quality) if has_choice else self.price_of

    def check(self, order: ImageOptions, references: int = 0, *, has_mask: bool = False) -> None:
        """Let a request with so many reference pictures pass that the model can serve.

        Raises:
            InvalidRequest: The message says what the model offers.
        """
        size = order.size
        if size not in self.sizes and (
            size == AUTO or self.free_sizes is None or not self.free_sizes.has(size)
        ):
            more = () if self.free_sizes is None else (str(self.free_sizes),)
            offered = ", ".join((*self.sizes, *more))
            raise InvalidRequest(f"size: {self.model} offers {offered}, not {size}")
        if order.n > self.images_max:
            raise InvalidRequest(f"n: {self.model} makes at most {self.images_max} images a job")
        self._check_pictures(references, has_mask=has_mask)
        for name, offered in _CHOICES.items():
            self._check_choice(name, getattr(order, name), getattr(self, offered))
        if order.background == "transparent" and order.output_format == "jpeg":
            raise InvalidRequest("background: a JPEG is never transparent; ask for png or webp")
        if order.output_compression is not None:
            if not self.output_formats:
                raise InvalidRequest(f"output_compression: {self.model} offers no choice")
            if order.output_format not in ("jpeg", "webp"):
                raise InvalidRequest("output_compression: needs output_format jpeg or webp")

    def quote(self, order: ImageOptions) -> int | None:
        """Return what the images of a request cost, in micro-dollars; None: not known.

        Raises:
            InvalidRequest: The request has a limit, and they cost more, or it is not known.
        """
        most, size, n = order.max_cost, order.size, order.n
        price = self.priced(order.quality)(size, n)
        if most is not None and price is None:
            raise InvalidRequest(f"max_cost: the price of {self.model} at {size} is not known here")
        if most is not None and price is not None and price > most:
            raise InvalidRequest(f"max_cost: {n} images cost {price} micro-dollars, not {most}")
        return price

    def _check_pictures(self, references: int, *, has_mask: bool) -> None:
        if references and not self.references_max:
            raise InvalidRequest(f"source_asset_id: {self.model} takes no reference pictures")
        if references > self.references_max:
            line = f"{self.model} takes at most {self.references_max} reference pictures"
            raise InvalidRequest(f"reference_asset_ids: {line}, not {references}")
        if has_mask and not self.takes_mask:
            raise InvalidRequest(f"mask_asset_id: {self.model} takes no mask")
        if has_mask and not references:
            raise InvalidRequest("mask_asset_id: needs a picture in source_asset_id")

    def _check_choice(self, name: str, value: str | None, offered: Sequence[str]) -> None:
        if value is None or value in offered or tuple(offered) == ANY:
            return
        if not offered and value != AUTO:
            raise InvalidRequest(f"{name}: {self.model} offers no choice")
        if value != AUTO:
            raise InvalidRequest(f"{name}: {self.model} offers {', '.join(offered)}, not {value}")


_CHOICES = {
    "quality": "qualities",
    "background": "backgrounds",
    "output_format": "output_formats",
    "moderation": "moderations",
}
"""Fields of a request, and what an offer calls their values."""


PriceTable = NumberTable
"""A setting: micro-dollars of one image by `quality size`, size, quality, or `*` for all others."""


def price_of(table: Mapping[str, int], quality: str, size: str, images: int) -> int | None:
    """Return the price of some images in micro-dollars; None if the table has no entry."""
    for name in (f"{quality} {size}", size, quality, "*"):
        if name in table:
            return table[name] * images
    return None


class ProviderSettings(BaseSettings):
    """Settings of one provider, each with the provider's name before it; part of `Settings`.

    A field of type `SecretStr` is a secret; a field `{name}_file` beside it names its file.
    """

    model_config = STRICT

    environment: Literal["local", "staging", "production"] = Field(
        "local", description="Where this runs; on AWS Lambda it must be set."
    )

    @classmethod
    def of(cls, settings: BaseSettings) -> Self:
        """Return all settings as those of this provider, which are a part of them.

        Raises:
            TypeError: They were read without this provider.
        """
        if not isinstance(settings, cls):
            raise TypeError(f"{type(settings).__name__} lacks {cls.__name__}")
        return settings


S = TypeVar("S", bound=ProviderSettings)


@dataclass(frozen=True)
class ProviderDeclaration(Generic[S]):
    """One provider.

    Attributes:
        name: For settings, ledger and logs.
        settings: The class of its settings.
        offers: What each model offers; the first whose pattern fits a name counts.
        default_model: Returns the model that is asked.
        family_of: Returns the name that `offers` know a model by.
        build: Returns the provider itself; may import an SDK.
        price: Returns what some images cost, in micro-dollars, from the settings, the model, the
            size and the number; of a model with qualities also from `quality`.
        units: What it bills by, as receipts name it, with the meaning of each.
        errors: Every error that it raises.
        required: Settings without which it cannot be built.
        is_free: No call costs anything, so no charge is ever unknown.
        makes_later: It answers with a name, and is asked for the image and the bill by it: a
            `LaterProvider`, which notes each of its purchases.
    """

    name: str
    settings: type[S]
    offers: Sequence[Offer]
    default_model: Callable[[S], str]
    build: Callable[[S], ImageProvider]
    price: Callable[..., int | None]
    units: Mapping[str, str] = field(default_factory=dict)
    errors: Sequence[ErrorRule] = ()
    required: Sequence[str] = ()
    is_free: bool = False
    makes_later: bool = False
    family_of: Callable[[S, str], str] = lambda _settings, model: model

    def offer(self, settings: BaseSettings, model: str | None = None) -> Offer:
        """Return what a model offers, with its prices; None means the default model.

        Raises:
            InvalidRequest: The provider has no such model.
        """
        own = self.settings.of(settings)
        name = model or self.default_model(own)
        family = self.family_of(own, name)
        for offer in self.offers:
            if fnmatchcase(family, offer.model):
                return replace(offer, model=name, price_of=partial(self.price, own, name))
        raise InvalidRequest(f"model: {self.name} has no model {name[:64]!r}")

    def knows(self, settings: BaseSettings, model: str) -> bool:
        """Return whether a name is of one of its families; `*` is none."""
        family = self.family_of(self.settings.of(settings), model)
        patterns = {offer.model for offer in self.offers} - {"*"}
        return any(fnmatchcase(family, pattern) for pattern in patterns)

    def connect(self, settings: BaseSettings) -> ImageProvider:
        """Return the provider itself.

        Raises:
            ConfigurationError: A setting or a package that it needs is missing.
        """
        own = self.settings.of(settings)
        for name in self.required:
            value = getattr(own, name)
            if not (value.get_secret_value() if isinstance(value, SecretStr) else value):
                raise ConfigurationError(
                    f"settings: {name.upper()} is not set (or set AI_MOCK_MODE=true)"
                )
        try:
            return self.build(own)
        except ImportError as error:
            raise ConfigurationError(
                f"the provider {self.name} needs the Python package {error.name}: install it "
                "(or set AI_MOCK_MODE=true)"
            ) from error
