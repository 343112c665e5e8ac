"""Bytes that wait: on disk if they are many, so that clients who do not read hold no memory."""

from os import SEEK_END
from tempfile import SpooledTemporaryFile

MEMORY_BYTES = 64 * 1024


class WaitingBytes(SpooledTemporaryFile[bytes]):
    """A file that is closed when nothing refers to it any more."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__(MEMORY_BYTES)
        self.write(data)

    def __del__(self) -> None:
        """Close it."""
        self.close()

    @property
    def size(self) -> int:
        """How many bytes were written."""
        return self.seek(0, SEEK_END)

    def all(self) -> bytes:
        """Return what was written."""
        self.seek(0)
        return self.read()
