"""A print of the reference picture, laid into a corner; called by the mock provider."""

from io import BytesIO

from PIL import Image, ImageOps

from shared.imaging.drawing.png import encode_png

_SHARE = 0.3
_FRAME_SHARE = 0.012
_MARGIN_SHARE = 0.04
_PAPER = (250, 249, 246)


def lay_in_reference(picture: bytes, reference: bytes) -> bytes:
    """Return the picture with a framed print of the reference at its lower right, as a PNG file.

    Args:
        picture: A PNG file.
        reference: A PNG, JPEG or WebP file of any size; whatever is transparent in it shows paper.
    """
    with Image.open(BytesIO(picture)) as opened:
        image = opened.convert("RGB")
    shorter = min(image.size)
    framed = _print_of(reference, round(shorter * _SHARE), max(1, round(shorter * _FRAME_SHARE)))
    margin = round(shorter * _MARGIN_SHARE)
    corner = (image.width - framed.width - margin, image.height - framed.height - margin)
    image.paste(framed, corner)
    return encode_png(image)


def _print_of(reference: bytes, side_px: int, frame_px: int) -> Image.Image:
    with Image.open(BytesIO(reference)) as opened:
        whole = opened.convert("RGBA")
    whole.thumbnail((side_px, side_px))
    paper = Image.new("RGBA", whole.size, _PAPER)
    paper.alpha_composite(whole)
    return ImageOps.expand(paper.convert("RGB"), frame_px, _PAPER)
