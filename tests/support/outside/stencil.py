"""A provider that Darkroom does not know: complete in one file, registered by a setting.

It paints an image of one colour. Words in the prompt make it misbehave: `<<busy>>` in attempt 1,
`<<refused>>`, `<<fewer>>`.
"""

import struct
import zlib
from pathlib import Path

from pydantic import Field, SecretStr

from shared.errors import PromptRejected, ProviderUnavailable
from shared.imaging.provider import (
    ChargeState,
    GeneratedImage,
    PreviewImage,
    ProviderAnswer,
    ProviderCall,
    Receipt,
)
from shared.imaging.providers.declaration import Offer, ProviderDeclaration, ProviderSettings
from shared.imaging.providers.error_rules import ErrorRule

STEPS = 4

_REFUSED = ErrorRule(PromptRejected, "the word `<<refused>>`")
_BUSY = ErrorRule(ProviderUnavailable, "the word `<<busy>>`")


class StencilSettings(ProviderSettings):
    """Which model and paint are used, and what they cost."""

    stencil_model: str = Field("stencil-large", description="Which model is asked.")
    stencil_shade: int = Field(90, ge=0, le=255, description="Brightness of the paint.")
    stencil_price: int = Field(7, ge=0, description="Micro-dollars of a litre of paint.")
    stencil_key: SecretStr | None = Field(None, description="Key of the paint shop.")
    stencil_key_file: Path | None = Field(None, description="File that holds STENCIL_KEY.")


class StencilProvider:
    """Paints."""

    def __init__(self, settings: StencilSettings) -> None:
        self._settings = settings

    def generate(self, call: ProviderCall) -> ProviderAnswer:
        """Paint the images of `call.positions`."""
        call.deadline.check()
        if "<<refused>>" in call.params.prompt:
            raise _REFUSED.error("The paint shop refuses this prompt", provider_code="taste")
        if "<<busy>>" in call.params.prompt and call.attempt == 1:
            raise _BUSY.error("The paint shop is closed", provider_code="closed")
        for step in range(1, STEPS):
            for position in call.positions:
                paint = self._paint(call, position, step)
                call.preview(PreviewImage(position, paint, "image/png", call.params.size_px[0], 8))
            call.step(step / STEPS)
        coming = call.positions[: -2 if "<<fewer>>" in call.params.prompt else None]
        offer = PROVIDER.offer(self._settings, call.model)
        receipt = Receipt(
            PROVIDER.name,
            call.model,
            f"paint-{call.job_id}-{call.attempt}",
            {"litres": len(coming)},
            offer.price_of(call.params.size, len(coming)),
        )
        call.bill(ChargeState.CHARGED, receipt)
        images = tuple(self._image(call, position) for position in coming)
        call.step(1.0)
        return ProviderAnswer(images, ChargeState.CHARGED, receipt)

    def _image(self, call: ProviderCall, position: int) -> GeneratedImage:
        paint = PreviewImage(
            position, self._paint(call, position), "image/png", *call.params.size_px
        )
        image = call.finished(paint, PROVIDER.name)
        call.keep(image)
        return image

    def _paint(self, call: ProviderCall, position: int, step: int = STEPS) -> bytes:
        reference = 0 if call.reference is None else zlib.crc32(call.reference.data)
        shade = (self._settings.stencil_shade + position + reference + 10 * step) % 256
        width_px, height_px = call.params.size_px
        return _png(width_px, height_px if step == STEPS else 8, shade)


def _png(width_px: int, height_px: int, shade: int) -> bytes:
    """Return a picture of one grey (PNG 1.2, sections 3 and 4)."""
    rows = (b"\0" + bytes([shade]) * width_px) * height_px
    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


PROVIDER = ProviderDeclaration(
    name="stencil",
    settings=StencilSettings,
    offers=(
        Offer("stencil-small", ("256x256",), images_max=1, previews_max=3, references_max=0),
        Offer("stencil-large", previews_max=3),
    ),
    default_model=lambda settings: settings.stencil_model,
    build=StencilProvider,
    price=lambda settings, _model, _size, images: settings.stencil_price * images,
    units={"litres": "litres of paint"},
    errors=(_REFUSED, _BUSY),
    required=("stencil_key",),
)
