"""Tokens of end users: short-lived, signed, kept nowhere.

A page holds one instead of an API key. It leads to the jobs of one user, and to nothing else.
"""

import hashlib
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass

from itsdangerous import BadSignature, URLSafeSerializer

from shared.access.api_keys import InsufficientScope, Unauthorized

USER_PREFIX = "dt_"
SECONDS_MAX = 3_600
"""There is no way to revoke a token alone; with its API key, it ends at once."""

_FORM = 1


class NotForUsers(InsufficientScope):
    """A token of a user was sent where only API keys are served."""

    def __init__(self) -> None:
        Exception.__init__(self, "the token of a user leads to that user's jobs alone")


@dataclass(frozen=True, slots=True)
class UserGrant:
    """What a token gives to its holder.

    Attributes:
        key_id: The API key that made it; None where no key is needed.
        expires_at: In seconds since 1970.
        max_open_jobs: How many jobs the user may have waiting or running.
        max_cost: The most that one job may cost, in micro-dollars.
    """

    key_id: str | None
    workspace_id: str
    user_id: str
    scopes: Collection[str]
    expires_at: int
    max_open_jobs: int | None = None
    max_cost: int | None = None


class UserTokens:
    """Makes and reads tokens.

    Args:
        secret: The same in all processes that serve them.
    """

    def __init__(self, secret: str) -> None:
        self._serializer = URLSafeSerializer(
            secret,
            salt="darkroom.user",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def issue(self, grant: UserGrant) -> str:
        """Return the text of a token."""
        values = {**asdict(grant), "scopes": [*grant.scopes]}
        return f"{USER_PREFIX}{self._serializer.dumps([_FORM, values])}"

    def read(self, text: str) -> UserGrant:
        """Return what a token gives.

        Raises:
            Unauthorized: It is none of ours, or has expired.
        """
        try:
            form, values = self._serializer.loads(text.removeprefix(USER_PREFIX))
        except (BadSignature, ValueError, TypeError) as error:
            raise Unauthorized("this token is not valid") from error
        if form != _FORM or time.time() >= values["expires_at"]:
            raise Unauthorized("this token has expired; get a new one")
        return UserGrant(**values)
