"""The body of an answer, decompressed piece by piece: no server makes it larger than its bound.

Used for whatever a provider answers with, and for the files behind its addresses.
"""

import zlib
from collections.abc import Iterable, Iterator

from shared.deadline import Deadline

_PIECE_BYTES = 256 * 1024

_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""The argument of zlib for each content coding (RFC 9110, section 8.4.1)."""


class UnreadableBody(ValueError):
    """The body is too large, or not encoded as its header says."""


def bounded_body(
    pieces: Iterable[bytes], encoding: str, bytes_max: int, deadline: Deadline
) -> Iterator[bytes]:
    """Yield a body, decompressed.

    Args:
        pieces: As they come from the connection.
        encoding: The header Content-Encoding; may be empty.
        bytes_max: Of the whole, decompressed.
        deadline: Checked at each piece.

    Raises:
        UnreadableBody: It has more bytes, or cannot be decompressed.
        SoftTimeLimitReached: The deadline has passed.
    """
    room = bytes_max
    for piece in _decompressed(pieces, encoding.strip().lower()):
        deadline.check()
        room -= len(piece)
        if room < 0:
            raise UnreadableBody(f"has more than {bytes_max} bytes")
        yield piece


def _decompressed(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    if encoding in ("", "identity"):
        yield from pieces
        return
    if encoding not in _WINDOWS:
        raise UnreadableBody("is compressed in an unknown way")
    stream = zlib.decompressobj(_WINDOWS[encoding])
    try:
        for piece in pieces:
            rest = piece
            while rest and not stream.eof:
                yield stream.decompress(rest, _PIECE_BYTES)
                rest = stream.unconsumed_tail
            if stream.eof:
                # What follows, perhaps without end, is not read.
                return
    except zlib.error as error:
        raise UnreadableBody("is not compressed as it says") from error
    if not stream.eof:
        raise UnreadableBody("is cut short")
