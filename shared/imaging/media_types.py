"""Kinds of pictures: which are taken, and which some bytes begin like.

Pure, and free of the drawing library.
"""

MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp")

UPLOAD_MAX_BYTES = 4 * 1024 * 1024
"""Base64 makes 5.6 MB of it, and a Lambda function is sent 6 MB at most (Lambda quotas)."""


def media_type_of(data: bytes) -> str | None:
    """Return the media type that the first bytes tell; None if they are of no picture."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return None
