"""Who may do what over HTTP: keys, workspaces, signed addresses, and pages of other sites."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.access.api_keys import ApiKeyStore
from tests.support.api import OTHER_WORKSPACE, SHOP_ORIGIN, Api, http_get, http_options, http_post
from tests.support.runtime import Runtime
from tests.support.wait import wait_until

ORDER = {"prompt": "a mug", "size": "256x256"}
PATIENCE_SECONDS = 5


@pytest.fixture
def job(runtime: Runtime) -> dict[str, Any]:
    """Give a completed job of the workspace `default`, with its picture."""
    return runtime.api.finish(runtime.api.submit("a red mug"))


@pytest.fixture
def stranger(runtime: Runtime) -> Iterator[httpx.Client]:
    """Give a client with the key of another workspace."""
    with runtime.api.client_of(OTHER_WORKSPACE) as client:
        yield client


@pytest.fixture
def keyless(runtime: Runtime) -> Iterator[httpx.Client]:
    """Give a client without a key."""
    with runtime.api.client_of(None) as client:
        yield client


def unsigned(url: str) -> str:
    """Return an address without its token."""
    return url.partition("?")[0]


def routes_of(job: dict[str, Any]) -> list[tuple[str, str]]:
    """Return every route that shows or changes something of a job."""
    return [
        ("GET", job["urls"]["self"]),
        ("GET", unsigned(job["urls"]["events"])),
        ("POST", job["urls"]["cancel"]),
        ("GET", unsigned(job["images"][0]["url"])),
        ("DELETE", job["urls"]["self"]),
    ]


def test_job_of_another_workspace_does_not_exist(
    runtime: Runtime, job: dict[str, Any], stranger: httpx.Client
) -> None:
    """404 on each route, and nothing of it in a list."""
    for method, url in routes_of(job):
        assert runtime.api.problem(stranger.request(method, url)) == (404, "not_found")
    assert stranger.get("/v1/generations").json()["items"] == []
    assert runtime.api.get(job)["cancel_requested_at"] is None
    assert stranger.post("/v1/generations", json=ORDER).status_code == 202
    assert len(runtime.api.client.get("/v1/generations").json()["items"]) == 1


def test_nothing_is_served_without_a_key(
    runtime: Runtime, job: dict[str, Any], keyless: httpx.Client
) -> None:
    """401 on each route; a wrong, cut or foreign key is none."""
    routes = [*routes_of(job), ("GET", "/v1/generations")]
    for method, url in routes:
        answer = keyless.request(method, url)
        assert runtime.api.problem(answer) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert keyless.post("/v1/generations", json=ORDER).status_code == 401
    key = runtime.api.keys["default"]
    for wrong in (key[:-1], key + "x", key.upper(), "dk_", "x" * 5000, key.replace("dk_", "")):
        answer = keyless.get(job["urls"]["self"], headers={"Authorization": f"Bearer {wrong}"})
        assert runtime.api.problem(answer) == (401, "unauthorized")
    for path in ("/healthz", "/readyz", "/v1/options", "/", "/docs", "/openapi.json"):
        assert keyless.get(path).status_code == 200


def test_signed_addresses_open_one_thing_without_a_key(
    runtime: Runtime, job: dict[str, Any], keyless: httpx.Client
) -> None:
    """And no other: neither of another job, nor of another kind, nor changed."""
    assert keyless.get(job["urls"]["events"]).status_code == 200
    image_url = job["images"][0]["url"]
    assert keyless.get(image_url).status_code == 200
    other = runtime.api.submit("a blue mug")
    event_token = job["urls"]["events"].partition("token=")[2]
    image_token = image_url.partition("token=")[2]
    assert event_token != image_token
    forged = [
        f"{unsigned(other['urls']['events'])}?token={event_token}",
        f"{unsigned(job['urls']['events'])}?token={image_token}",
        f"{unsigned(image_url)}?token={event_token}",
        f"{unsigned(job['urls']['events'])}?token={flip(event_token)}",
        f"{unsigned(job['urls']['events'])}?token=",
        f"{unsigned(job['urls']['events'])}?token=a.b.c",
        f"{unsigned(image_url)}?token={flip(image_token)}",
    ]
    for url in forged:
        assert runtime.api.problem(keyless.get(url)) == (401, "invalid_token")
    assert keyless.post(f"{job['urls']['cancel']}?token={event_token}").status_code == 401


def test_signed_addresses_expire_and_the_job_has_new_ones(runtime: Runtime) -> None:
    """A stream that is open goes on; only opening it anew needs a new address."""
    api = runtime.open_api
    job = api.finish(api.submit("a red mug"))
    urls = [job["urls"]["events"], job["images"][0]["url"]]
    with runtime.database() as cursor:
        cursor.execute(
            "UPDATE generation_jobs SET finished_at = now() - interval '301 s' WHERE id = %s",
            (job["id"],),
        )
    for url in urls:
        wait_until(partial(is_refused, api, url), 10, "it to expire")
        assert api.problem(api.client.get(url)) == (401, "expired_token")
    again = api.get(job)
    assert api.client.get(again["urls"]["events"]).status_code == 200
    assert api.client.get(again["images"][0]["url"]).status_code == 200


def test_the_address_of_a_stream_works_as_long_as_its_job(runtime: Runtime) -> None:
    """Longer than EVENT_TOKEN_SECONDS, and over a restart of the API: EventSource has no other."""
    api = runtime.open_api
    with runtime.paused():
        job = api.submit("a red mug")
        api.process.kill()
        api.process.start()
        submitted_at = datetime.fromisoformat(job["created_at"])
        old = timedelta(seconds=2.5)
        wait_until(lambda: datetime.now(UTC) - submitted_at > old, 10, "the token to be too old")
        with api.stream(job["urls"]["events"]) as events:
            assert next(events).retry
    for _ in range(2):
        assert api.follow(job["urls"]["events"])[-1].step["status"] == "completed"


def test_revoked_key_is_worthless_at_once(runtime: Runtime) -> None:
    """Other keys of the workspace go on."""
    store = ApiKeyStore(runtime.services.engine)
    key, text = store.create("default", "to be revoked")
    headers = {"Authorization": f"Bearer {text}"}
    url = f"{runtime.api.url}/v1/generations"
    assert http_get(url, headers=headers).status_code == 200
    store.revoke(key.id)
    assert runtime.api.problem(http_get(url, headers=headers)) == (401, "unauthorized")
    assert runtime.api.client.get("/v1/generations").status_code == 200


def test_revoked_key_ends_its_open_streams(runtime: Runtime) -> None:
    """Within a minute: the response ends, and the next request is refused."""
    store = ApiKeyStore(runtime.services.engine)
    key, text = store.create("default", "to be revoked")
    headers = {"Authorization": f"Bearer {text}"}
    with runtime.paused():
        job = runtime.api.submit("a red mug")
        url = f"{runtime.api.url}{unsigned(job['urls']['events'])}"
        with ThreadPoolExecutor(1) as threads:
            following = threads.submit(follow_until_refused, url, headers)
            wait_until(lambda: runtime.redis_client.zcard("open_streams:default"), 20, "a stream")
            store.revoke(key.id)
            assert following.result(PATIENCE_SECONDS + 60) == 401
        runtime.api.client.post(job["urls"]["cancel"])


def follow_until_refused(url: str, headers: dict[str, str]) -> int:
    """Follow a job as an EventSource does, and return the status that ends it."""
    last_id = "0-0"
    while True:
        answer = httpx.get(url, headers={**headers, "Last-Event-ID": last_id}, timeout=90)
        if answer.status_code != 200:
            return answer.status_code
        last_id = [last_id, *re.findall(r"(?m)^id: (.+)$", answer.text)][-1]


def test_idempotency_keys_belong_to_a_workspace(runtime: Runtime, stranger: httpx.Client) -> None:
    """The same key elsewhere is another one."""
    key = {"Idempotency-Key": str(uuid4())}
    own = runtime.api.client.post("/v1/generations", json=ORDER, headers=key)
    other = stranger.post("/v1/generations", json={**ORDER, "n": 2}, headers=key)
    assert (own.status_code, other.status_code) == (202, 202)
    assert own.json()["id"] != other.json()["id"]


def test_api_without_keys_serves_no_page_of_another_site(runtime: Runtime) -> None:
    """Whatever a web page elsewhere can make a browser send is refused."""
    api = runtime.open_api
    url = f"{api.url}/v1/generations"
    port = api.url.rpartition(":")[2]
    refused = [
        http_post(url, json=ORDER, headers={"Host": f"evil.example:{port}"}),
        http_post(url, json=ORDER, headers={"Host": "evil.example"}),
        http_get(url, headers={"Host": f"127.0.0.1.evil.example:{port}"}),
        http_post(url, json=ORDER, headers={"Origin": "https://evil.example"}),
        http_post(url, json=ORDER, headers={"Origin": "null"}),
        http_post(f"{url}/{uuid4()}/cancel", headers={"Origin": "https://evil.example"}),
    ]
    for answer in refused:
        assert api.problem(answer) == (403, "forbidden")
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = http_post(
            url, content=b'{"prompt": "a mug"}', headers={"Content-Type": media_type}
        )
        assert api.problem(answer) == (415, "unsupported_media_type")
    for host in ("localhost", "127.0.0.1"):
        answer = http_get(url, headers={"Host": f"{host}:{port}"})
        assert answer.status_code == 200
        assert answer.json()["items"] == []
    own_page = {"Origin": api.url}
    assert http_post(url, json=ORDER, headers=own_page).status_code == 202


def test_pages_of_a_listed_origin_may_use_the_api(runtime: Runtime, job: dict[str, Any]) -> None:
    """Its browser learns so before each kind of request, and may read the answers."""
    api = runtime.api
    shop = {"Origin": SHOP_ORIGIN}
    asks = {
        **shop,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key,prefer",
    }
    allowed = http_options(f"{api.url}/v1/generations", headers=asks)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == SHOP_ORIGIN
    assert "POST" in allowed.headers["access-control-allow-methods"]
    answers = [
        api.client.post("/v1/generations", json=ORDER, headers=shop),
        api.client.get("/v1/nothing", headers=shop),
        http_get(api.url + job["urls"]["self"], headers=shop),
        http_get(api.url + job["urls"]["events"], headers=shop),
        http_get(api.url + job["images"][0]["url"], headers=shop),
    ]
    assert [answer.status_code for answer in answers] == [202, 404, 401, 200, 200]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == SHOP_ORIGIN
        assert "access-control-allow-credentials" not in answer.headers
    assert "Location" in answers[0].headers["access-control-expose-headers"]


def test_pages_of_other_origins_may_not_read_the_api(runtime: Runtime) -> None:
    """Neither one that looks like a listed one, nor any where none is listed."""
    order = {"Access-Control-Request-Method": "POST"}
    for origin in (SHOP_ORIGIN + ".evil.example", "http://shop.example", "null"):
        url = f"{runtime.api.url}/v1/generations"
        refused = http_options(url, headers={"Origin": origin, **order})
        assert refused.status_code == 400
        assert "access-control-allow-origin" not in refused.headers
        answer = runtime.api.client.get("/v1/options", headers={"Origin": origin})
        assert "access-control-allow-origin" not in answer.headers
    answer = http_options(
        f"{runtime.open_api.url}/v1/generations", headers={"Origin": SHOP_ORIGIN, **order}
    )
    assert answer.status_code == 405
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("kind", ["api", "open_api"])
def test_an_origin_that_is_not_listed_is_logged_with_its_setting(
    runtime: Runtime, kind: str
) -> None:
    """The browser alone sees that a page is refused; the log says what would let it pass."""
    api: Api = getattr(runtime, kind)
    url = f"{api.url}/v1/generations"
    first, second, third = origins = [f"https://{kind}-{number}.example" for number in range(3)]
    http_options(url, headers={"Origin": first, "Access-Control-Request-Method": "POST"})
    http_get(url, headers={"Origin": second})
    refused = http_post(url, json=ORDER, headers={"Origin": third})
    http_get(url, headers={"Origin": api.url})

    def logged() -> list[str]:
        lines = [line for line in api.log.lines() if line["event"] == "origin not listed"]
        assert {line["setting"] for line in lines} <= {"CORS_ORIGINS"}
        return [line["origin"] for line in lines if line["origin"] in (*origins, api.url)]

    wait_until(lambda: logged() == origins, PATIENCE_SECONDS, "an origin is not logged")
    if kind == "open_api":
        assert api.problem(refused) == (403, "forbidden")
        assert "CORS_ORIGINS" in refused.json()["detail"]


def test_no_answer_leaks_addresses_or_lets_pages_be_framed(
    runtime: Runtime, job: dict[str, Any]
) -> None:
    """Each carries the headers that browsers need to know."""
    for path in (
        "/",
        "/docs",
        "/healthz",
        job["urls"]["self"],
        job["images"][0]["url"],
        "/nothing",
    ):
        headers = runtime.api.client.get(path).headers
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
    policy = runtime.api.client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert runtime.api.client.get(job["urls"]["self"]).headers["cache-control"] == "no-store"


def test_page_and_documentation_bring_everything_along(runtime: Runtime) -> None:
    """No address of another host stands in them."""
    client = runtime.api.client
    for path in ("/", "/operator", "/docs"):
        text = client.get(path).text
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text)
        assets = re.findall(r"(?:src|href)=\"(assets/[^\"]+)\"", text)
        assert len(assets) > 2
        for asset in assets:
            assert client.get(f"/{asset}").status_code == 200


def test_the_api_is_ready_while_everything_answers(runtime: Runtime) -> None:
    """And names what is unavailable otherwise."""
    api = runtime.api
    wait_until(lambda: ready(api) == (200, []), 20, "the API to be ready")
    runtime.redis.kill()
    assert ready(api) in [(503, ["redis"]), (503, ["queue", "redis"])]
    assert api.client.get("/healthz").json() == {"status": "ok"}
    runtime.redis.start()
    runtime.postgres.kill()
    assert ready(api)[0] == 503
    assert "database" in ready(api)[1]
    answer = api.client.post("/v1/generations", json=ORDER)
    assert api.problem(answer) == (503, "service_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    runtime.postgres.start()
    wait_until(lambda: ready(api) == (200, []), 20, "the API to be ready again")


def is_refused(api: Api, url: str) -> bool:
    """Return whether the address is not served (any more)."""
    return api.client.get(url).status_code == 401


def ready(api: Api) -> tuple[int, list[str]]:
    """Return the status of the readiness check, and what is unavailable."""
    answer = api.client.get("/readyz")
    checks = answer.json()["checks"]
    return answer.status_code, sorted(name for name, state in checks.items() if state != "ok")


def flip(token: str) -> str:
    """Return the token with its last letter but one changed."""
    letter = "A" if token[-2] != "A" else "B"
    return f"{token[:-2]}{letter}{token[-1]}"
