"""Signed addresses: they open one thing, for a time, to whoever holds them.

For what a browser fetches without headers: event streams (EventSource) and images.
"""

import hashlib
from uuid import UUID

from itsdangerous import BadSignature, SignatureExpired, TimestampSigner

from shared.access.errors import ExpiredToken, InvalidToken

TOKEN_MAX_CHARS = 128


class AddressSigner:
    """Signs the ids of one kind of thing.

    Args:
        secret: Shared by all processes that serve the addresses.
        kind: What is signed; a token for one kind does not open another.
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
        """Let a token of this thing pass.

        Raises:
            ExpiredToken: It was valid once.
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
