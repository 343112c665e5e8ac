"""Who is calling: the dependency that every route of a workspace stands on."""

from typing import Annotated

from fastapi import Depends, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from shared.access.api_keys import Caller
from shared.api.parts import Parts
from shared.errors import Unauthorized

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
