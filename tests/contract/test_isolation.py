"""Every route with every kind of key: what is of another workspace does not exist.

The routes are those of the application and its OpenAPI document. One that is new has no entry in
`ROUTES`, and fails.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from shared.access.api_keys import ApiKeyStore
from tests.support.api import OTHER_WORKSPACE
from tests.support.application import build_application
from tests.support.images_api import png
from tests.support.runtime import Runtime
from tests.support.wait import wait_until

PICTURE = png(32, 32)
SHORT = {"prompt": "a mug", "size": "256x256"}


@dataclass(frozen=True)
class Route:
    """What is known of a route.

    Attributes:
        request: A valid request.
        thing: What the id in its path is of; None if there is none.
        needs_key: Whether it answers 401 without a key.
        opened_by: The token that opens it instead of a key, by the thing that it was signed for.
        is_operators: Whether it is about all workspaces, and a key of one gets 403.
    """

    request: Mapping[str, Any] = field(default_factory=dict)
    thing: str | None = None
    needs_key: bool = True
    opened_by: str | None = None
    is_operators: bool = False


OPEN = Route(needs_key=False)
OPERATORS = Route(is_operators=True)
OPERATORS_JOB = Route(thing="job", is_operators=True)
ORDER = Route({"json": SHORT})
EDIT = Route({"data": SHORT, "files": {"image": ("mug.png", PICTURE, "image/png")}})

ROUTES = {
    "GET /": OPEN,
    "GET /assets/{_name}": OPEN,
    "GET /docs": OPEN,
    "GET /favicon.ico": OPEN,
    "GET /healthz": OPEN,
    "GET /openapi.json": OPEN,
    "GET /operator": OPEN,
    "GET /readyz": OPEN,
    "GET /v1/options": OPEN,
    "POST /v1/generations": ORDER,
    "GET /v1/generations": Route(),
    "GET /v1/generations/{job_id}": Route(thing="job"),
    "GET /v1/generations/{job_id}/events": Route(thing="job", opened_by="job"),
    "POST /v1/generations/{job_id}/cancel": Route(thing="job"),
    "POST /v1/generations/{job_id}/retry": Route(thing="job"),
    "DELETE /v1/generations/{job_id}": Route(thing="job"),
    "POST /v1/assets": Route({"content": PICTURE, "headers": {"Content-Type": "image/png"}}),
    "GET /v1/assets": Route(),
    "GET /v1/assets/{asset_id}": Route(thing="asset"),
    "GET /v1/assets/{asset_id}/content": Route(thing="asset", opened_by="asset"),
    "DELETE /v1/assets/{asset_id}": Route(thing="asset"),
    "GET /v1/images/{image_id}": Route(thing="image", opened_by="image"),
    "GET /v1/previews/{preview_id}": Route(thing="preview", opened_by="preview"),
    "POST /v1/webhooks": Route({"json": {"url": "https://shop.invalid/hook"}}),
    "GET /v1/webhooks": Route(),
    "GET /v1/webhooks/{webhook_id}": Route(thing="webhook"),
    "PATCH /v1/webhooks/{webhook_id}": Route({"json": {}}, thing="webhook"),
    "GET /v1/webhooks/{webhook_id}/deliveries": Route(thing="webhook"),
    "POST /v1/webhooks/deliveries/{delivery_id}/resend": Route(thing="delivery"),
    "DELETE /v1/webhooks/{webhook_id}": Route(thing="webhook"),
    "POST /v1/tokens": Route({"json": {"user_id": "ann"}}),
    "GET /v1/operator/overview": OPERATORS,
    "GET /v1/operator/costs": OPERATORS,
    "GET /v1/operator/queue": OPERATORS,
    "GET /v1/operator/jobs": Route({"params": {"workspace_id": "default"}}, is_operators=True),
    "GET /v1/operator/jobs/{job_id}": OPERATORS_JOB,
    "POST /v1/operator/jobs/{job_id}/cancel": OPERATORS_JOB,
    "POST /v1/operator/jobs/{job_id}/retry": OPERATORS_JOB,
    "GET /v1/operator/workspaces": OPERATORS,
    "PATCH /v1/operator/workspaces": Route({"json": {}}, is_operators=True),
    "PATCH /v1/operator/providers": Route({"json": {}}, is_operators=True),
    "GET /v1/operator/audit": OPERATORS,
    "POST /v1/images/generations": ORDER,
    "POST /v1/images/generations/async": ORDER,
    "POST /v1/images/edits": EDIT,
    "POST /v1/images/edits/async": EDIT,
    "GET /v1/images/tasks/{task_id}": Route(thing="job"),
    "GET /v1/models": Route(),
    "GET /v1/models/{model:path}": Route(),
}

REFERENCES = {
    **{"user_id": "user", "product_id": "product", "source_asset_id": "asset"},
    **{"reference_asset_ids": "asset", "mask_asset_id": "asset"},
}
"""What the fields of bodies and queries name, besides the ids in paths."""


@dataclass(frozen=True)
class Things:
    """One thing of each kind, of the workspace `default`: their ids, and tokens that open them."""

    ids: Mapping[str, str]
    tokens: Mapping[str, str]


@pytest.fixture
def things(runtime: Runtime) -> Iterator[Things]:
    """Give a job that has ended, one that shows a preview, an asset and a product."""
    api = runtime.api
    asset = api.client.post("/v1/assets", **ROUTES["POST /v1/assets"].request).json()
    ended = api.finish(api.submit("a red mug"))
    running = api.finish(api.submit("a blue mug"))
    wait_until(lambda: runtime.job_is_announced(running), 20, "the end to be announced")
    with runtime.database() as cursor:
        cursor.execute(
            "INSERT INTO products (id, workspace_id, name) VALUES ('theirs', 'default', 'Mug');"
            "INSERT INTO users (id, workspace_id) VALUES ('their-user', 'default')"
        )
        _show_preview(cursor, running["id"])
        [image], [preview] = ended["images"], api.get(running)["previews"]
        webhook = api.client.post("/v1/webhooks", **ROUTES["POST /v1/webhooks"].request).json()
        delivery_id = _add_delivery(cursor, webhook["id"], ended["id"])
        ids = {
            **{"job": ended["id"], "asset": asset["id"], "image": image["id"]},
            **{"webhook": webhook["id"], "delivery": delivery_id, "user": "their-user"},
            **{"preview": urlsplit(preview["url"]).path.rpartition("/")[2], "product": "theirs"},
        }
        urls = {"job": ended["urls"]["events"], "asset": asset["url"], "image": image["url"]}
        urls["preview"] = preview["url"]
        tokens = {kind: url.rpartition("token=")[2] for kind, url in urls.items()}
        yield Things(ids, tokens)
        cursor.execute("DELETE FROM generation_jobs WHERE id = %s", (running["id"],))
        cursor.execute("DELETE FROM products WHERE id = 'theirs'")
        cursor.execute("DELETE FROM users WHERE id = 'their-user'")


def _show_preview(cursor: Any, job_id: str) -> None:
    """Let a job run, for the rows alone, and let its image be a preview."""
    cursor.execute(
        "UPDATE generation_jobs SET status = 'PROCESSING', finished_at = NULL, result = NULL,"
        " announced_at = NULL, lease_until = now() + interval '5 minutes', lease_owner = 'host:1',"
        " time_limit_at = now() + interval '5 minutes' WHERE id = %s",
        (job_id,),
    )
    cursor.execute(
        "INSERT INTO previews (id, job_id, position, token, storage_key, media_type, width_px,"
        " height_px) SELECT gen_random_uuid(), job.id, 0, lease_token, storage_key, media_type,"
        " image.width_px, image.height_px FROM generation_jobs job JOIN images image"
        " ON image.job_id = job.id WHERE job.id = %s",
        (job_id,),
    )


def _add_delivery(cursor: Any, webhook_id: str, job_id: str) -> str:
    """Add a delivery that is over."""
    cursor.execute(
        "INSERT INTO webhook_deliveries (webhook_id, job_id, receiver, event, job, next_try_at)"
        " VALUES (%s, %s, %s, 'generation.completed', '{}', NULL) RETURNING id",
        (webhook_id, job_id, webhook_id),
    )
    return str(cursor.fetchone()["id"])


def send(client: httpx.Client, name: str, thing_id: str = "", **more: Any) -> httpx.Response:
    """Send the valid request of a route, with this id in its path."""
    method, _, path = name.partition(" ")
    path = re.sub(r"\{[^}]+\}", thing_id or "nothing", path)
    return client.request(method, path, **{**ROUTES[name].request, **more})


def seen(answer: httpx.Response, *ids: str) -> tuple[int, dict[str, str], str]:
    """Return all that a client sees of an answer, but for the ids that it sent itself."""
    text = answer.text
    for one in ids:
        text = text.replace(one, "")
    headers = dict(answer.headers)
    # The length is that of the ids, too.
    for name in ("date", "x-request-id", "content-length"):
        headers.pop(name, None)
    return answer.status_code, headers, text


def routes_of_the_application() -> set[str]:
    """Return all routes, also those that the document leaves out."""
    routes = build_application().routes
    return {
        f"{method} {route.path}"
        for route in _all_of(routes)
        # What is mounted, or no HTTP, has a path and no methods.
        for method in (getattr(route, "methods", None) or {"ANY"}) - {"HEAD"}
    }


def _all_of(routes: Any) -> Iterator[Any]:
    for route in routes:
        if hasattr(route, "original_router"):
            yield from _all_of(route.original_router.routes)
        else:
            yield route


def operations_of(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the operations of an OpenAPI document."""
    return {
        f"{method.upper()} {path}": operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }


def names_of(operation: Mapping[str, Any], document: Mapping[str, Any], where: str) -> set[str]:
    """Return the names of the parameters in the path or query, or of the fields of the body."""
    if where != "json":
        parameters = operation.get("parameters", ())
        return {each["name"] for each in parameters if each["in"] == where}
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    model = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    return set(document["components"]["schemas"].get(model, {}).get("properties", ()))


def test_every_route_has_an_entry(runtime: Runtime) -> None:
    """What the document says of ids and tokens stands there, too."""
    document = runtime.api.client.get("/openapi.json").json()
    operations = operations_of(document)
    assert set(operations) <= set(ROUTES)
    assert routes_of_the_application() == set(ROUTES)
    for name, operation in operations.items():
        route = ROUTES[name]
        ids = {f"{route.thing}_id"} if route.thing else set()
        assert names_of(operation, document, "path") == ids, name
        query = names_of(operation, document, "query")
        assert ("token" in query) == (route.opened_by is not None), name
        assert bool(operation.get("security")) == route.needs_key, name
        if route.is_operators:
            continue
        for word in query | names_of(operation, document, "json"):
            assert not word.endswith("_id") or word in {*REFERENCES, "last_event_id"}, name


def test_no_route_is_served_without_a_key_but_those_that_say_so(
    runtime: Runtime, things: Things
) -> None:
    """A wrong or revoked key is none, and so is the token of another thing."""
    api = runtime.api
    store = ApiKeyStore(runtime.services.engine)
    revoked, text = store.create(OTHER_WORKSPACE, "revoked")
    store.revoke(revoked.id)
    headers = [{}, *({"Authorization": f"Bearer {key}"} for key in (text, "dk_", text[:-1]))]
    with api.client_of(None) as keyless:
        for name, route in ROUTES.items():
            thing_id = things.ids.get(route.thing or "", "")
            for given in headers:
                request = dict(route.request)
                request["headers"] = {**request.get("headers", {}), **given}
                answer = send(keyless, name, thing_id, **request)
                assert (answer.status_code == 401) == route.needs_key, (name, given)
            for kind, token in things.tokens.items():
                answer = send(keyless, name, thing_id, params={"token": token})
                opens = kind == route.opened_by or not route.needs_key
                assert (answer.status_code != 401) == opens, (name, kind)


def test_ids_of_another_workspace_are_answered_as_unknown_ones(
    runtime: Runtime, things: Things
) -> None:
    """404, the same to the byte; afterwards the own key finds everything as it was."""
    api = runtime.api
    with api.client_of(OTHER_WORKSPACE) as stranger:
        for name, route in ROUTES.items():
            if route.thing is None or route.is_operators:
                continue
            foreign, unknown = things.ids[route.thing], str(uuid4())
            answer = send(stranger, name, foreign)
            assert answer.status_code == 404, name
            assert seen(answer, foreign) == seen(send(stranger, name, unknown), unknown), name
    # The deletions come last.
    for name, route in sorted(ROUTES.items(), key=lambda item: item[0].startswith("DELETE")):
        if route.thing is not None and not route.is_operators:
            found = send(api.client, name, things.ids[route.thing])
            assert found.is_success, (name, found.text)


def test_references_to_another_workspace_are_answered_as_unknown_ones(
    runtime: Runtime, things: Things
) -> None:
    """In the fields of bodies, and in queries."""
    api = runtime.api
    document = api.client.get("/openapi.json").json()
    tried = set()
    with api.client_of(OTHER_WORKSPACE) as stranger:
        for name, operation in operations_of(document).items():
            if ROUTES[name].is_operators:
                continue
            for where in ("query", "json"):
                for word in names_of(operation, document, where) & set(REFERENCES):
                    foreign, unknown = things.ids[REFERENCES[word]], str(uuid4())
                    answers = []
                    for value in (foreign, unknown):
                        more: dict[str, Any] = {"params": {word: value}}
                        if where == "json":
                            field = [value] if word.endswith("_ids") else value
                            more = {"json": {**SHORT, word: field}}
                        answers.append(seen(send(stranger, name, **more), value))
                    assert answers[0] == answers[1], (name, word)
                    tried.add((name, word))
    assert len(tried) == 10


def test_lists_and_answers_show_nothing_of_another_workspace(
    runtime: Runtime, things: Things
) -> None:
    """Whatever a route without an id in its path answers, no foreign id stands in it."""
    api = runtime.api
    with api.client_of(OTHER_WORKSPACE) as stranger:
        for name, route in ROUTES.items():
            if route.thing is None and route.needs_key:
                answer = send(stranger, name)
                assert answer.status_code < 500, (name, answer.text)
                assert (answer.status_code == 403) == route.is_operators, (name, answer.text)
                for kind, thing_id in things.ids.items():
                    assert thing_id not in answer.text, (name, kind)
    assert things.ids["job"] in api.client.get("/v1/generations").text
