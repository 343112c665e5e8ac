"""Who is calling, or what a signed address opens: every route of a workspace stands on it."""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from shared.access.api_keys import Caller
from shared.access.errors import Unauthorized
from shared.access.signatures import AddressSigner
from shared.api.parts import ApiParts, Parts

OPEN_WORKSPACE = "default"
"""Whose jobs they are where no key is needed."""

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="ApiKey",
    description="A key of the workspace, from `darkroom keys create`.",
)

Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


async def find_caller(parts: Parts, credentials: Credentials) -> Caller:
    """Return whose workspace a request is for.

    Raises:
        Unauthorized: A key is needed, and none or a wrong one was sent.
    """
    if credentials is not None:
        return await parts.threads.run(parts.keys.identify, credentials.credentials)
    if parts.settings.needs_api_keys:
        raise Unauthorized("send an API key of the workspace as Authorization: Bearer ...")
    return Caller(OPEN_WORKSPACE)


CallerOf = Annotated[Caller, Depends(find_caller)]


async def find_workspace(
    parts: ApiParts,
    signer: AddressSigner,
    thing_id: UUID,
    token: str | None,
    credentials: Credentials,
) -> str | None:
    """Return in whose workspace a request may look for a thing; None means in any.

    A valid token opens the one thing that it was signed for; without one the caller's key counts.

    Raises:
        InvalidToken, ExpiredToken: The token does not open it.
        Unauthorized: There is neither a token nor a valid key.
    """
    if token is None:
        return (await find_caller(parts, credentials)).workspace_id
    signer.check(thing_id, token)
    return None
