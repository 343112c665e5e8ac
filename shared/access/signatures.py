"""Signed addresses: each opens one thing, for a time, without an API key.

A browser sends no headers when it opens an event stream (EventSource) or an image.
"""

import hashlib
from typing import Any
from uuid import UUID

from itsdangerous import BadSignature, SignatureExpired, TimestampSigner

from shared.errors import DarkroomError

TOKEN_MAX_CHARS = 128

STEADY_PART = 4
"""An address stays the same for a quarter of its life, so at least three quarters are left."""


class InvalidToken(DarkroomError):
    """A signed address was changed, or was signed for another thing."""

    code = "invalid_token"

    def __init__(self) -> None:
        super().__init__("the token of this address is not valid")


class ExpiredToken(DarkroomError):
    """A signed address is too old."""

    code = "expired_token"

    def __init__(self) -> None:
        super().__init__("the token of this address has expired; get the job again for a new one")


class _SteadySigner(TimestampSigner):
    """Signs the same thing in the same way for a while, so that caches know its address."""

    steady_seconds = 1

    def get_timestamp(self) -> int:
        now = super().get_timestamp()
        return now - now % self.steady_seconds


class AddressSigner:
    """Signs the ids of one kind of thing.

    Args:
        secret: The same in all processes that serve the addresses.
        kind: The kind of thing; a token for one kind does not open another.
        seconds: How long a token is valid.
    """

    def __init__(self, secret: str, kind: str, seconds: int) -> None:
        self._seconds = seconds
        options: dict[str, Any] = {
            "salt": f"darkroom.{kind}",
            "sep": ".",
            "key_derivation": "hmac",
            "digest_method": hashlib.sha256,
        }
        self._checker = TimestampSigner(secret, **options)
        self._signer = _SteadySigner(secret, **options)
        self._signer.steady_seconds = max(1, seconds // STEADY_PART)

    def sign(self, thing_id: UUID) -> str:
        """Return a token that opens this thing from now on."""
        signed = self._signer.sign(str(thing_id)).decode()
        return signed.partition(".")[2]

    def check(self, thing_id: UUID, token: str) -> None:
        """Check a token of this thing.

        Raises:
            ExpiredToken: It was valid before.
            InvalidToken: It was never valid for this thing.
        """
        if len(token) > TOKEN_MAX_CHARS:
            raise InvalidToken
        try:
            self._checker.unsign(f"{thing_id}.{token}", max_age=self._seconds)
        except SignatureExpired as error:
            raise ExpiredToken from error
        except BadSignature as error:
            raise InvalidToken from error
