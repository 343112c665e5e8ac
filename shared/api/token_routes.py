"""Tokens of end users: a shop gives them to its pages, which then need no API key."""

import time
from asyncio import to_thread
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from shared.access.scopes import OWN_SCOPES, Scope
from shared.access.user_tokens import SECONDS_MAX, UserGrant
from shared.api.caller import caller_of
from shared.api.dependencies import Context, WorkspaceToSubmit
from shared.api.documentation import examples, problems
from shared.imaging.request import OwnerId

router = APIRouter(prefix="/v1/tokens", tags=["tokens"])


class TokenOrder(BaseModel):
    """For whom a token is, and what it gives."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user_id: OwnerId = Field(description="The user whose jobs it leads to, and no others.")
    expires_in: int = Field(
        default=900, ge=1, le=SECONDS_MAX, strict=True, description="Seconds that it works."
    )
    scopes: list[Scope] = Field(
        default=list(OWN_SCOPES),
        min_length=1,
        description="What it may be used for: some of the scopes of the API key, without `admin`.",
    )
    max_open_jobs: int | None = Field(
        default=None, ge=1, strict=True, description="Unfinished jobs that the user may have."
    )
    max_cost: int | None = Field(
        default=None,
        ge=0,
        strict=True,
        description="The most that a job costs, in micro-dollars.",
    )


class TokenBody(BaseModel):
    """A token; its text is kept nowhere."""

    model_config = ConfigDict(frozen=True)

    token: str = Field(description="For `Authorization: Bearer`, as an API key.")
    expires_at: datetime


@router.post(
    "",
    status_code=201,
    summary="Create a token for a user",
    responses={
        201: examples("The token.", "token"),
        **problems(
            *("malformed_json", "payload_too_large", "unsupported_media_type"),
            invalid_request="expires_in should be less than or equal to 3600",
        ),
    },
)
async def create_token(
    request: Request, api: Context, workspace_id: WorkspaceToSubmit, order: TokenOrder
) -> TokenBody:
    """Return a token for the pages of one user. It ends with the API key that made it."""
    caller = caller_of(request.scope)
    caller.check([*order.scopes])
    await to_thread(api.services.jobs.make_user, workspace_id, order.user_id)
    grant = UserGrant(
        caller.key_id,
        workspace_id,
        order.user_id,
        [scope.value for scope in order.scopes],
        int(time.time()) + order.expires_in,
        order.max_open_jobs,
        order.max_cost,
    )
    expires_at = datetime.fromtimestamp(grant.expires_at, UTC)
    return TokenBody(token=api.tokens.issue(grant), expires_at=expires_at)
