"""Signed addresses: each opens one thing, for a time, without an API key.

A browser sends no headers when it opens an event stream (EventSource) or an image.
"""

import hashlib
from uuid import UUID

from itsdangerous import BadSignature, SignatureExpired, TimestampSigner

from shared.errors import DarkroomError

TOKEN_MAX_CHARS = 128


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


class AddressSigner:
    """Signs the ids of one kind of thing.

    Args:
        secret: The same in all processes that serve the addresses.
        kind: The kind of thing; a token for one kind does not open another.
        seconds: How long a token is valid.
    """

    def __init__(self, secret: str, kind: str, seconds: int) -> None:
        self._seconds = seconds
        self._signer = TimestampSigner(
            secret,
            salt=f"darkroom.{kind}",
            sep=".",
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )

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
            self._signer.unsign(f"{thing_id}.{token}", max_age=self._seconds)
        except SignatureExpired as error:
            raise ExpiredToken from error
        except BadSignature as error:
            raise InvalidToken from error
