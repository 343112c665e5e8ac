"""What routes ask FastAPI for: the services, and the workspace that a request is for."""

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Path, Query, Request, Security
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from shared.access.api_keys import KEY_PREFIX, Unauthorized, key_id_of
from shared.access.request_rates import WINDOW_SECONDS, RequestRates, TooManyRequests
from shared.api.caller import Caller, caller_of
from shared.api.presenter import Presenter
from shared.api.sse import EventDelivery
from shared.api.uploads import Uploads
from shared.jobs.workspace_limits import Quota
from shared.wiring import Services

OPEN_WORKSPACE = "default"
"""The workspace of every request where no key is needed."""


class ApiContext:
    """Everything that a route may use; one for each application."""

    def __init__(self, services: Services, delivery: EventDelivery) -> None:
        self.services = services
        self.settings = services.settings
        self.delivery = delivery
        self.presenter = Presenter(services.settings)
        self.rates = RequestRates(services.redis, services.settings.max_requests_per_minute)
        self.uploads = Uploads()


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


async def find_workspace(request: Request, api: Context, credentials: Credentials) -> str:
    """Return the workspace of the caller's key, and count the request.

    Raises:
        Unauthorized: A key is needed, and the request has none or an invalid one.
        TooManyRequests: The key has sent as many in this minute as it may.
    """
    text = "" if credentials is None else credentials.credentials
    if api.settings.needs_api_keys and not text:
        raise Unauthorized("send an API key of the workspace as Authorization: Bearer ...")
    # Where no key is needed, SDKs send some text all the same.
    if api.settings.needs_api_keys or text.startswith(KEY_PREFIX):
        return await asyncio.to_thread(_identify, api, text, caller_of(request.scope))
    return OPEN_WORKSPACE


def _identify(api: ApiContext, text: str, caller: Caller) -> str:
    workspace_id = api.services.keys.find_workspace(text)
    caller.key_id = key_id_of(text)
    left = api.rates.take(caller.key_id)
    if left is not None:
        policy = TooManyRequests.policy
        caller.quota = Quota(policy, left.limit, left.remaining, WINDOW_SECONDS, left.reset_seconds)
    return workspace_id


Workspace = Annotated[str, Depends(find_workspace)]


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
    if any(part.call is find_workspace for part in parts):
        await find_workspace(request, api, await _BEARER(request))
    raise RequestValidationError(
        [{"type": "extra_forbidden", "loc": ("query", name), "msg": ""} for name in unknown]
    )


def _parts_of(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for part in dependant.dependencies:
        yield from _parts_of(part)


def opened_by(kind: str) -> Any:
    """Return a dependency for a path `.../{<kind>_id}` that a signed address or a key opens.

    Its value is the workspace that the thing must belong to; None if a token opens it.
    """

    async def find(
        request: Request,
        api: Context,
        credentials: Credentials,
        thing_id: Annotated[UUID, Path(alias=f"{kind}_id")],
        token: Annotated[
            str | None, Query(max_length=200, description="The token of a signed address.")
        ] = None,
    ) -> str | None:
        if token is None:
            return await find_workspace(request, api, credentials)
        api.presenter.signers[kind].check(thing_id, token)
        return None

    return Depends(find)
