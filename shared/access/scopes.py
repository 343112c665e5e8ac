"""What API keys may be used for; imported by commands, so it imports nothing."""

from enum import StrEnum


class Scope(StrEnum):
    """What a key may be used for."""

    SUBMIT = "submit"
    READ = "read"
    CANCEL = "cancel"
    ADMIN = "admin"


OWN_SCOPES = (Scope.SUBMIT, Scope.READ, Scope.CANCEL)
"""All that concern the workspace of the key alone; `admin` concerns every workspace."""
