"""Turns what a provider sent for a picture, base64 or an address, into the picture itself."""

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from shared.deadline import Deadline
from shared.imaging.containers import BrokenPicture, NotAPicture
from shared.imaging.media_types import media_type_of
from shared.imaging.pictures import measure
from shared.imaging.provider import PreviewImage
from shared.imaging.providers.answers import SentPicture
from shared.imaging.providers.error_rules import CORRUPT, UNUSABLE
from shared.imaging.providers.fetching import ImageFetcher

IMAGE_MAX_BYTES = 64 * 1024 * 1024
"""Of one picture: ten times a 1536 x 1024 PNG of noise."""

_DATA_ADDRESS = re.compile(r"\s*data:[^,]{0,200},", re.IGNORECASE)
_URL_SAFE = str.maketrans("-_", "+/", " \t\r\n=")


def receive(
    position: int, sent: SentPicture, fetcher: ImageFetcher, deadline: Deadline
) -> PreviewImage:
    """Return the picture of one position, as it is kept.

    Raises:
        UnusableImage: It would be sent in the same form again, so another call helps nothing.
        CorruptImage: It is cut short.
        ProviderUnavailable, ProviderTimeout: Its address does not answer.
        SoftTimeLimitReached: The deadline has passed.
    """
    if sent.data is not None:
        return picture_of(position, sent.data)
    if sent.base64:
        return picture_of(position, decode(sent.base64))
    address = (sent.address or "").strip()
    if _DATA_ADDRESS.match(address):
        return picture_of(position, decode(address))
    if not address:
        raise UNUSABLE.error("The provider sent neither a picture nor its address")
    return picture_of(position, fetcher.fetch(address, deadline))


def picture_of(position: int, data: bytes) -> PreviewImage:
    """Return bytes as the picture of a position.

    Raises:
        UnusableImage: They are no picture of a known type, or too large a one.
        CorruptImage: They begin as a picture, and are cut short or broken.
    """
    try:
        found = measure(data)
    except NotAPicture as error:
        is_broken = isinstance(error, BrokenPicture) and media_type_of(data) is not None
        rule = CORRUPT if is_broken else UNUSABLE
        raise rule.error(f"What the provider sent {error}") from error
    return PreviewImage(position, found.data, found.media_type, found.width_px, found.height_px)


def decode(text: str) -> bytes:
    """Return the bytes of base64 in any usual form, also of a `data:` address.

    Raises:
        UnusableImage: It is no base64.
    """
    head = _DATA_ADDRESS.match(text)
    try:
        if head is None:
            return _from_base64(text)
        body = text[head.end() :]
        return _from_base64(body) if ";base64" in head.group().lower() else unquote_to_bytes(body)
    except ValueError as error:
        raise UNUSABLE.error("What the provider sent is not base64") from error


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        plain = text.translate(_URL_SAFE)
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
