"""Who sends a request, as its route finds out. The gate shows what is left of its quota."""

from collections.abc import Collection
from dataclasses import dataclass

from starlette.types import Scope

from shared.access.api_keys import InsufficientScope
from shared.access.scopes import OWN_SCOPES
from shared.access.user_tokens import UserGrant
from shared.jobs.workspace_limits import Quota

CALLER = "darkroom.caller"
"""In the scope of a request."""


@dataclass(slots=True)
class Caller:
    """The sender of one request.

    Attributes:
        key_id: Of the API key; None where a signed address or no key was sent.
        key_name: What the key is for.
        quota: The requests that the key has left; None without a limit.
        scopes: What the key may be used for; those of a workspace where no key is needed.
        user: What the token of a user gives; None where none was sent.
    """

    key_id: str | None = None
    key_name: str | None = None
    quota: Quota | None = None
    scopes: Collection[str] = OWN_SCOPES
    user: UserGrant | None = None

    def check(self, wanted: Collection[str]) -> None:
        """Raise InsufficientScope unless the sender may do all of this."""
        if missing := [scope for scope in wanted if scope not in self.scopes]:
            raise InsufficientScope(missing)


def caller_of(scope: Scope) -> Caller:
    """Return who sends the request."""
    caller: Caller = scope[CALLER]
    return caller
