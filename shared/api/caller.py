"""Who sends a request, as its route finds out. The gate shows what is left of its quota."""

from dataclasses import dataclass

from starlette.types import Scope

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
    """

    key_id: str | None = None
    key_name: str | None = None
    quota: Quota | None = None


def caller_of(scope: Scope) -> Caller:
    """Return who sends the request."""
    caller: Caller = scope[CALLER]
    return caller
