"""Secrets and signatures of webhooks, as Standard Webhooks 1.0.0 has them."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

SECRET_PREFIX = "whsec_"  # noqa: S105 - what all of them begin with
_SECRET_BYTES = 32


def new_secret() -> str:
    """Return a new secret."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signed_headers(
    message_id: str, timestamp: int, body: bytes, keys: Sequence[str]
) -> dict[str, str]:
    """Return the three headers of a delivery, with a signature by each of the secrets.

    Args:
        message_id: The same at each try.
        timestamp: Of this try, in seconds since 1970.
        body: As it is sent.
        keys: The secret, and while it is rotated, the one before.
    """
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{_sign(key, signed)}" for key in keys),
    }


def _sign(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
