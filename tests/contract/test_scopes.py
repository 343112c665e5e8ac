"""Every route with every scope of a key: it is served with all that the route needs, and else 403.

What it needs stands in the OpenAPI document, for the routes that are in it.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.access.api_keys import ApiKeyStore
from shared.access.scopes import OWN_SCOPES, Scope
from tests.contract.test_isolation import ROUTES, operations_of, send
from tests.support.runtime import Runtime


def scopes_of(name: str) -> list[Scope]:
    """Return the scopes that a route is to need."""
    method, _, path = name.partition(" ")
    if path.startswith("/v1/operator"):
        return [Scope.ADMIN]
    if method == "GET":
        return [Scope.READ]
    if path.startswith("/v1/webhooks"):
        return list(OWN_SCOPES)
    is_end = method == "DELETE" or path.endswith("/cancel")
    return [Scope.CANCEL if is_end else Scope.SUBMIT]


def emptied(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request of the same form whose body is not valid: nothing comes of it."""
    if "files" in request:
        return {"data": None, "files": {"x": ("x", b"x")}}
    return {"content": b"x"} if "content" in request else {"json": {}}


@pytest.fixture
def clients(runtime: Runtime) -> Iterator[dict[tuple[Scope, ...], httpx.Client]]:
    """Give clients whose keys have one scope each, all of them, and all but `admin`."""
    store = ApiKeyStore(runtime.services.engine)
    with ExitStack() as undo:
        clients = {}
        for scopes in (*((scope,) for scope in Scope), OWN_SCOPES, tuple(Scope)):
            _, text = store.create("default", "scopes", scopes=scopes)
            client = undo.enter_context(runtime.api.client_of(None))
            client.headers["Authorization"] = f"Bearer {text}"
            clients[scopes] = client
        yield clients


def test_the_document_names_the_scopes_of_each_route(runtime: Runtime) -> None:
    """Those that are needed together."""
    document = runtime.api.client.get("/openapi.json").json()
    for name, operation in operations_of(document).items():
        wanted = [{"ApiKey": [*scopes_of(name)]}] if ROUTES[name].needs_key else None
        assert operation.get("security") == wanted, name


def test_a_key_is_served_where_it_has_the_scopes(
    runtime: Runtime, clients: dict[tuple[Scope, ...], httpx.Client]
) -> None:
    """Without them nothing of the request is looked at: neither its body nor the id in its path."""
    for name, route in ROUTES.items():
        for scopes, client in clients.items():
            answer = send(client, name, str(uuid4()), **emptied(route.request))
            is_enough = not route.needs_key or set(scopes_of(name)) <= {*scopes}
            assert (answer.status_code == 403) != is_enough, (name, scopes, answer.text)
            assert is_enough or "insufficient_scope" in answer.text, (name, scopes)
            assert answer.status_code < 500, (name, answer.text)


def test_an_unknown_parameter_is_not_named_without_the_scope(
    clients: dict[tuple[Scope, ...], httpx.Client],
) -> None:
    """The answer is that of the scope."""
    codes = [
        clients[(scope,)].get("/v1/generations?colour=red").json()["code"]
        for scope in (Scope.SUBMIT, Scope.READ)
    ]
    assert codes == ["insufficient_scope", "invalid_request"]
