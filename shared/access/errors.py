"""Who may not come in, and why: errors of keys and of signed addresses."""

from shared.errors import DarkroomError


class UnknownKey(DarkroomError):
    """Somebody named an API key that there is not."""

    code = "unknown_key"

    def __init__(self, key_id: str) -> None:
        super().__init__(f"no API key {key_id[:64]!r} that could be revoked")


class Unauthorized(DarkroomError):
    """A request came without a valid API key, where one is needed."""

    code = "unauthorized"


class InvalidToken(DarkroomError):
    """A signed address was changed, or was signed for something else."""

    code = "invalid_token"

    def __init__(self) -> None:
        super().__init__("the token of this address is not valid")


class ExpiredToken(DarkroomError):
    """A signed address is too old; asking for the job again gives a new one."""

    code = "expired_token"

    def __init__(self) -> None:
        super().__init__("the token of this address has expired; get the job again for a new one")
