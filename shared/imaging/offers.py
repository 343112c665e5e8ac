"""Which sizes and counts a model offers: what it does not is refused before a job is accepted.

Facts: `openai` 3.54 (Python SDK), `types/image_generate_params.py` and `types/image_model.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared.errors import InvalidRequest
from shared.imaging.params import IMAGES_MAX, SIZE_NAMES
from shared.imaging.prices import PriceTable

_GPT_IMAGE_SIZES = ("1024x1024", "1024x1536", "1536x1024")
_OLD_MODELS: Mapping[str, tuple[Sequence[str], int]] = {
    "dall-e-2": (("256x256", "512x512", "1024x1024"), IMAGES_MAX),
    "dall-e-3": (("1024x1024",), 1),
}


@dataclass(frozen=True, slots=True)
class Offer:
    """What one model can be asked for."""

    model: str
    sizes: Sequence[str] = SIZE_NAMES
    images_max: int = IMAGES_MAX
    takes_references: bool = True
    quality: str = "auto"
    prices: PriceTable = field(default_factory=lambda: PriceTable({}))

    def check(
        self,
        size: str,
        n: int,
        max_cost_microdollars: int | None = None,
        *,
        has_reference: bool = False,
    ) -> None:
        """Let a request pass that the model can serve at that cost.

        Raises:
            InvalidRequest: It cannot; the line says what it offers, or what it costs.
        """
        if size not in self.sizes:
            raise InvalidRequest(f"size: {self.model} offers {', '.join(self.sizes)}, not {size}")
        if n > self.images_max:
            raise InvalidRequest(f"n: {self.model} makes at most {self.images_max} images a job")
        if has_reference and not self.takes_references:
            raise InvalidRequest(f"source_asset_id: {self.model} takes no reference pictures")
        if max_cost_microdollars is not None:
            self._check_cost(size, n, max_cost_microdollars)

    def _check_cost(self, size: str, n: int, most: int) -> None:
        price = self.prices.of(self.quality, size, n)
        if price is None:
            raise InvalidRequest(f"max_cost: the price of {self.model} at {size} is not known here")
        if price > most:
            raise InvalidRequest(f"max_cost: {n} images cost {price} micro-dollars, not {most}")


def offer_of(model: str, quality: str = "auto", prices: PriceTable | None = None) -> Offer:
    """Return what is known of a model; one that is not known is taken to offer everything."""
    sizes, images_max = _OLD_MODELS.get(model, (SIZE_NAMES, IMAGES_MAX))
    if is_gpt_image(model):
        sizes = _GPT_IMAGE_SIZES
    return Offer(
        model, sizes, images_max, model not in _OLD_MODELS, quality, prices or PriceTable({})
    )


def is_gpt_image(model: str) -> bool:
    """Whether the model takes output formats, streams previews, and always answers with bytes."""
    return model.startswith(("gpt-image", "chatgpt-image"))
