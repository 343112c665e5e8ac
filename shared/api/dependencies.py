"""What routes ask FastAPI for: the services, and the workspace that a request is for.

How a route asks for the workspace says which scopes a key must have. The OpenAPI document lists
them. A signed address, and a request where no key is needed, may do all that its route does.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Path, Query, Request, Security
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes

from shared.access.api_keys import KEY_PREFIX, Unauthorized
from shared.access.request_rates import WINDOW_SECONDS, RequestRates, TooManyRequests
from shared.access.scopes import OWN_SCOPES, Scope
from shared.access.signatures import ExpiredToken
from shared.access.user_tokens import USER_PREFIX, NotForUsers, UserGrant, UserTokens
from shared.api.caller import Caller, caller_of
from shared.api.operator.operator_overview import OverviewReader
from shared.api.presenter import Presenter
from shared.api.sse import EventDelivery
from shared.api.uploads import Uploads
from shared.errors import UnknownJob
from shared.events.publisher import ENDED_SECONDS
from shared.jobs.workspace_limits import Quota
from shared.wiring import Services

ROUTES_OF_USERS = "/v1/generations"
"""How the paths begin that the token of a user opens; all others refuse it."""

OPEN_WORKSPACE = "default"
"""The workspace of every request where no key is needed."""


class ApiContext:
    """Everything that a route may use; one for each application."""

    def __init__(self, services: Services, delivery: EventDelivery, uploads: Uploads) -> None:
        self.services = services
        self.settings = services.settings
        self.delivery = delivery
        self.presenter = Presenter(services.settings)
        limit, prefix = services.settings.max_requests_per_minute, services.settings.redis_prefix
        self.rates = RequestRates(services.redis, limit, prefix)
        self.uploads = uploads
        self.overview = OverviewReader(services)
        self.tokens = UserTokens(services.settings.signing_secret)


async def get_context(request: Request) -> ApiContext:
    """Return the context of the application that a request is for."""
    context: ApiContext = request.app.state.context
    return context


Context = Annotated[ApiContext, Depends(get_context)]
_BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="ApiKey",
    description="A key of the workspace, from `darkroom keys create`.",
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]


async def find_workspace(
    request: Request, api: Context, credentials: Credentials, wanted: SecurityScopes
) -> str:
    """Return the workspace of the caller's key, and count the request.

    Raises:
        Unauthorized: A key is needed, and the request has none or an invalid one.
        InsufficientScope: The key may not be used for this.
        TooManyRequests: The key has sent as many in this minute as it may.
    """
    text = "" if credentials is None else credentials.credentials
    if api.settings.needs_api_keys and not text:
        raise Unauthorized("send an API key of the workspace as Authorization: Bearer ...")
    if text.startswith(USER_PREFIX):
        return await asyncio.to_thread(_identify_user, api, text, request, wanted.scopes)
    # Where no key is needed, SDKs send some text all the same.
    if api.settings.needs_api_keys or text.startswith(KEY_PREFIX):
        caller = caller_of(request.scope)
        return await asyncio.to_thread(_identify, api, text, caller, wanted.scopes)
    return OPEN_WORKSPACE


def _identify_user(api: ApiContext, text: str, request: Request, wanted: list[str]) -> str:
    """Check the token of a user, who has the jobs of that user alone."""
    user, caller = api.tokens.read(text), caller_of(request.scope)
    if user.key_id is not None:
        if api.services.keys.find_revoked([user.key_id]):
            raise Unauthorized("the API key that made this token was revoked")
        api.rates.take(user.key_id)
    caller.key_id, caller.user, caller.scopes = user.key_id, user, user.scopes
    if not request.scope["route"].path.startswith(ROUTES_OF_USERS):
        raise NotForUsers
    caller.check(wanted)
    with suppress(ValueError):  # no id of a job: its route says so
        job_id = UUID(request.path_params.get("job_id", ""))
        if api.services.jobs.get(job_id, user.workspace_id).user_id != user.user_id:
            raise UnknownJob(job_id)
    return user.workspace_id


def _identify(api: ApiContext, text: str, caller: Caller, wanted: list[str]) -> str:
    grant = api.services.keys.find(text)
    caller.key_id, caller.key_name, caller.scopes = grant.key_id, grant.name, grant.scopes
    left = api.rates.take(grant.key_id)
    if left is not None:
        policy = TooManyRequests.policy
        caller.quota = Quota(policy, left.limit, left.remaining, WINDOW_SECONDS, left.reset_seconds)
    grant.check(wanted)
    return grant.workspace_id


WorkspaceToSubmit = Annotated[str, Security(find_workspace, scopes=[Scope.SUBMIT])]
WorkspaceToRead = Annotated[str, Security(find_workspace, scopes=[Scope.READ])]
WorkspaceToCancel = Annotated[str, Security(find_workspace, scopes=[Scope.CANCEL])]
WorkspaceToManage = Annotated[str, Security(find_workspace, scopes=list(OWN_SCOPES))]
"""For what would give the holder of one scope more than that: a webhook gets all jobs."""
WorkspaceOfOperator = Annotated[str, Security(find_workspace, scopes=[Scope.ADMIN])]
"""What its routes show is of all workspaces."""


async def find_user(request: Request) -> UserGrant | None:
    """Return what the token of a user gives, after its workspace was found; None without one."""
    return caller_of(request.scope).user


UserOfToken = Annotated[UserGrant | None, Depends(find_user)]


async def refuse_unknown_parameters(request: Request, api: Context) -> None:
    """Refuse a parameter in the query that the route does not declare: a misspelt filter is none.

    Signed addresses take any, as programs append their own. So do the routes that the OpenAPI
    document leaves out: files for browsers, and what OpenAI's clients call.

    Raises:
        Unauthorized: The route needs a key; a caller without one learns no more.
        RequestValidationError: Names each parameter.
    """
    route: APIRoute = request.scope["route"]
    parts = list(_parts_of(route.dependant))
    known = {field.alias for part in parts for field in part.query_params}
    unknown = sorted({*request.query_params} - known)
    if not unknown or not route.include_in_schema or "token" in known:
        return
    for part in parts:
        if part.call is find_workspace:
            wanted = SecurityScopes(part.own_oauth_scopes)
            await find_workspace(request, api, await _BEARER(request), wanted)
    raise RequestValidationError(
        [{"type": "extra_forbidden", "loc": ("query", name), "msg": ""} for name in unknown]
    )


def _parts_of(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for part in dependant.dependencies:
        yield from _parts_of(part)


def _has_stream(api: ApiContext, job_id: UUID) -> bool:
    """Return whether the stream of a job lives: until some time after its end."""
    ended_at = api.services.jobs.get(job_id).finished_at
    return ended_at is None or datetime.now(UTC) - ended_at < timedelta(seconds=ENDED_SECONDS)


def opened_by(kind: str) -> Any:
    """Return a dependency for a path `.../{<kind>_id}` that a signed address or a key opens.

    Its value is the workspace that the thing must belong to; None if a token opens it.
    """

    async def find(
        request: Request,
        api: Context,
        credentials: Credentials,
        wanted: SecurityScopes,
        thing_id: Annotated[UUID, Path(alias=f"{kind}_id")],
        token: Annotated[
            str | None, Query(max_length=200, description="The token of a signed address.")
        ] = None,
    ) -> str | None:
        if token is None:
            return await find_workspace(request, api, credentials, wanted)
        try:
            api.presenter.signers[kind].check(thing_id, token)
        except ExpiredToken:
            # EventSource opens the same address again and again, up to the last event.
            if kind != "job" or not await asyncio.to_thread(_has_stream, api, thing_id):
                raise
        return None

    return Security(find, scopes=[Scope.READ])
