"""Who sends a request, or what its signed address opens; every route of a workspace uses it."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from shared.access.api_keys import Caller, Unauthorized
from shared.access.signatures import AddressSigner
from shared.api.context import ApiContext, Context

OPEN_WORKSPACE = "default"
"""The workspace of every request where no key is needed."""

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="ApiKey",
    description="A key of the workspace, from `darkroom keys create`.",
)

Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


async def find_caller(api: Context, credentials: Credentials) -> Caller:
    """Return the caller, and with it the workspace of a request.

    Raises:
        Unauthorized: A key is needed, and the request has none or an invalid one.
    """
    if credentials is not None:
        return await api.run(api.services.keys.identify, credentials.credentials)
    if api.settings.needs_api_keys:
        raise Unauthorized("send an API key of the workspace as Authorization: Bearer ...")
    return Caller(OPEN_WORKSPACE)


CallerOf = Annotated[Caller, Depends(find_caller)]


@dataclass(frozen=True, slots=True)
class SignedAccess:
    """Access to one thing: by the token of its signed address, else by the caller's key."""

    api: ApiContext
    credentials: HTTPAuthorizationCredentials | None
    token: str | None

    async def find_workspace(self, signer: AddressSigner, thing_id: UUID) -> str | None:
        """Return the workspace that the thing must belong to; None if a token opens it.

        Raises:
            InvalidToken, ExpiredToken: The token does not open the thing.
            Unauthorized: There is neither a token nor a valid key.
        """
        if self.token is None:
            return (await find_caller(self.api, self.credentials)).workspace_id
        signer.check(thing_id, self.token)
        return None


async def get_access(
    api: Context,
    credentials: Credentials,
    token: Annotated[
        str | None, Query(max_length=200, description="The token of a signed address.")
    ] = None,
) -> SignedAccess:
    """Return how a request to a signed address is authorized (a dependency of routes)."""
    return SignedAccess(api, credentials, token)


Access = Annotated[SignedAccess, Depends(get_access)]
