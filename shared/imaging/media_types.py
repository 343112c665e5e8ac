"""Types of images: which are accepted, and which type some bytes have. Imports no Pillow."""

UPLOAD_MAX_BYTES = 4 * 1024 * 1024
"""Base64 makes 5.6 MB of it, and a Lambda function is sent 6 MB at most (Lambda quotas)."""

MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp")
"""Of the images that are kept."""

UPLOAD_MEDIA_TYPES = (*MEDIA_TYPES, "image/avif")


def media_type_of(data: bytes) -> str | None:
    """Return the media type by the first bytes; None if they are not of an image."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return None
