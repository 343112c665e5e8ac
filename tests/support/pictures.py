"""Pictures that tests upload."""

from io import BytesIO

from PIL import Image


def mask_file(size_px: tuple[int, int], mode: str = "RGBA", kind: str = "PNG") -> bytes:
    """Return a mask whose left half is transparent, where its mode has such pixels."""
    mask = Image.new(mode, size_px, "black")
    if mode == "RGBA":
        mask.paste((0, 0, 0, 0), (0, 0, size_px[0] // 2, size_px[1]))
    buffer = BytesIO()
    mask.save(buffer, kind)
    return buffer.getvalue()
