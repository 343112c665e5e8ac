"""Requests that look like no other still get an answer that says what is wrong."""

import json
import random
import re
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import httpx
import pytest

from shared.access.api_keys import ApiKeyStore
from shared.access.scopes import Scope
from tests.support.api import SHOP_ORIGIN, Api, http_get, job_id_of
from tests.support.raw_http import answer_to
from tests.support.runtime import Runtime
from tests.support.wait import wait_until

JOBS = "/v1/generations"
LONGEST_PROMPT = "\U0001f3fa" * 4_000
"""A picture of an amphora, in as many characters as a prompt may have."""

METADATA = {f"{number:02}": "\U0001f3fa" * 500 for number in range(16)}
PREFLIGHT = {"Origin": SHOP_ORIGIN, "Access-Control-Request-Method": "POST"}
JOBS_OF_A_PAGE = 60
"""So many of these have more bytes than an answer of a Lambda function may have."""


@pytest.mark.parametrize(
    "moment",
    [
        "2026-01-01T00:00:00+16:00",
        "2026-01-01T00:00:00-16:00",
        "2026-01-01T00:00:00+23:59",
        "2026-01-01T00:00:00-23:59",
        "0001-01-01T00:00:00+15:00",
        "9999-12-31T23:59:59-15:00",
    ],
)
@pytest.mark.parametrize("name", ["created_after", "created_before"])
def test_time_that_no_clock_shows_is_refused(runtime: Runtime, name: str, moment: str) -> None:
    """PostgreSQL knows no offset of 16 h and more, and Python no year before 1."""
    answer = runtime.api.client.get(JOBS, params={name: moment})
    assert runtime.api.problem(answer) == (422, "invalid_request")
    assert answer.json()["errors"][0]["field"] == name


def test_a_parameter_that_a_route_does_not_know_is_refused(runtime: Runtime) -> None:
    """Of every documented route; a misspelt filter would return everything."""
    api, paths = runtime.api, runtime.api.client.get("/openapi.json").json()["paths"]
    _, key = ApiKeyStore(runtime.services.engine).create("default", "all", scopes=[*Scope])
    headers = {"Authorization": f"Bearer {key}"}
    tried = 0
    for path, methods in paths.items():
        for method, operation in methods.items():
            names = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}
            if "token" in names:
                continue
            address = f"{re.sub('{.*?}', str(uuid4()), path)}?statsu=failed&limit=2"
            answer = api.client.request(method, address, headers=headers)
            assert api.problem(answer) == (422, "invalid_request"), (method, path)
            fields = {error["field"]: error["message"] for error in answer.json()["errors"]}
            assert fields.pop("statsu") == "is not a known field", (method, path)
            assert ("limit" in fields) != ("limit" in names), (method, path)
            tried += 1
    assert tried >= 10


def test_a_caller_without_a_key_learns_of_no_parameters(runtime: Runtime) -> None:
    """The key is asked for first."""
    with runtime.api.client_of(None) as client:
        assert client.get(JOBS, params={"statsu": "failed"}).status_code == 401


def test_signed_addresses_and_files_take_further_parameters(runtime: Runtime) -> None:
    """Proxies, mail programs and campaigns append their own."""
    api = runtime.api
    job = api.finish(api.submit("a red mug"))
    [image] = job["images"]
    for address in (image["url"], job["urls"]["events"]):
        assert http_get(f"{api.url}{address}&utm_source=mail").status_code in (200, 204)
    assert http_get(f"{api.url}/?utm_source=mail").status_code == 200
    models = api.client.get("/v1/models", params={"api-version": "2026-01-01"})
    assert models.status_code == 200


@pytest.mark.parametrize("moment", ["2026-01-01T00:00:00+15:59", "2026-01-01T00:00:00-14:00"])
def test_time_with_an_offset_is_taken(runtime: Runtime, moment: str) -> None:
    """Some clocks are 14 h ahead."""
    assert runtime.api.client.get(JOBS, params={"created_after": moment}).status_code == 200


@pytest.mark.parametrize("cursor", ["ffffffffffffff-" + "f" * 32, "0-" + "0" * 32])
def test_cursor_of_any_time_is_taken(runtime: Runtime, cursor: str) -> None:
    """What its form allows, PostgreSQL can compare."""
    assert runtime.api.client.get(JOBS, params={"cursor": cursor}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["localhost:1:2", "localhost:port", "local host", "[::1", "a,b", "a/b"],
)
def test_malformed_host_is_refused(runtime: Runtime, host: str) -> None:
    """With a problem, whether a key is needed or not."""
    for api in (runtime.api, runtime.open_api):
        answer = http_get(f"{api.url}/healthz", headers={"Host": host})
        assert api.problem(answer) == (400, "malformed_host")


def test_two_hosts_are_refused_and_an_address_is_none_too_many(runtime: Runtime) -> None:
    """An IPv6 address has colons of its own."""
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n%sConnection: close\r\n\r\n"
    url = runtime.open_api.url
    assert b" 400 " in answer_to(url, request % b"Host: localhost\r\n").splitlines()[0]
    assert b" 200 " in answer_to(url, request % b"").splitlines()[0]
    address = request.replace(b"localhost", b"[::1]:8000") % b""
    assert b" 200 " in answer_to(url, address).splitlines()[0]


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/healthz", {}),
        ("GET", "/", {}),
        ("GET", "/v1/generations", {}),
        ("GET", "/v1/generations", {"Authorization": "Bearer none"}),
        ("GET", "/none", {}),
        ("PUT", "/v1/generations", {}),
        ("POST", "/v1/generations", {"Content-Type": "text/plain"}),
        ("POST", "/v1/images/generations", {"Content-Type": "application/json"}),
        ("GET", "/v1/chat/completions", {}),
        ("GET", "/healthz", {"Host": "a,b"}),
        ("OPTIONS", "/v1/generations", PREFLIGHT),
    ],
)
def test_every_answer_names_its_request(
    runtime: Runtime, method: str, path: str, headers: dict[str, str]
) -> None:
    """By the id that it came with, where that can stand in a line of the log."""
    client, name = runtime.api.client, "x-request-id"
    own = f"Root=1-{uuid4()}"
    assert client.request(method, path, headers={**headers, name: own}).headers[name] == own
    made = {
        client.request(method, path, headers={**headers, **given}).headers[name]
        for given in ({}, {name: "a b"}, {name: "x" * 129})
    }
    assert len(made) == 3
    assert all(re.fullmatch("req_[0-9a-f]{32}", each) for each in made)
    if method != "OPTIONS":
        # It is written behind the answer.
        found = wait_until(lambda: lines_of_request(runtime, own), 10, "the line of the request")
        assert [(line["event"], line["path"]) for line in found] == [("request", path)]


def lines_of_request(runtime: Runtime, request_id: str) -> list[Mapping[str, Any]]:
    """Return the lines of the API's log that name a request."""
    return [line for line in runtime.api.log.lines() if line.get("request_id") == request_id]


def test_allow_names_every_method_of_a_path(runtime: Runtime) -> None:
    """As the document has them, and none besides."""
    client = runtime.api.client
    paths = client.get("/openapi.json").json()["paths"]
    for path, operations in paths.items():
        address = re.sub(r"\{[a-z_]+\}", str(uuid4()), path)
        answer = client.request("PUT" if "patch" in operations else "PATCH", address, json={})
        assert runtime.api.problem(answer) == (405, "method_not_allowed")
        allowed = set(answer.headers["allow"].split(", "))
        assert allowed == {method.upper() for method in operations}, path
    assert client.request("PATCH", "/assets/app.js", json={}).headers["allow"] == "GET"


def test_page_is_no_longer_than_an_answer_may_be(runtime: Runtime) -> None:
    """It ends early, with a cursor: all jobs come, each once, on both runtimes alike."""
    with runtime.paused():
        params = {"prompt": LONGEST_PROMPT, "metadata": METADATA, "n": 1, "seed": 1}
        jobs = [str(runtime.write_row(params).id) for _ in range(JOBS_OF_A_PAGE)]
        pages = list(pages_of(runtime.api, limit=100))
        ids = [job["id"] for page in pages for job in page]
        assert ids == jobs[::-1]
        assert len(pages) > 1
        for page in pages[:-1]:
            assert len(page) > 1
        with runtime.database() as cursor:
            cursor.execute("DELETE FROM generation_jobs")


@pytest.fixture
def long_picture(runtime: Runtime) -> tuple[str, bytes]:
    """Give the address and the bytes of a picture, more than a Lambda function may answer with."""
    job = runtime.api.finish(runtime.api.submit("a mug"))
    [key] = runtime.saved_keys(runtime.services.get(job_id_of(job)))
    data = random.Random(1).randbytes(9_000_000)
    (runtime.image_dir / key).write_bytes(data)
    return f"{runtime.api.url}{job['images'][0]['url']}", data


def test_picture_may_be_longer_than_an_answer(long_picture: tuple[str, bytes]) -> None:
    """Its bytes come whole, on both runtimes alike."""
    url, data = long_picture
    answer = http_get(url)
    assert (answer.status_code, answer.content == data) == (200, True)
    assert answer.headers["content-length"] == str(len(data))
    assert answer.headers["content-type"] == "image/png"
    assert "content-range" not in answer.headers


def test_a_part_of_a_picture_is_returned(long_picture: tuple[str, bytes]) -> None:
    """As clients ask for that go on with a download."""
    url, data = long_picture
    for wanted, first, last in (
        ("0-0", 0, 0),
        ("8000000-8000099", 8_000_000, 8_000_099),
        ("8999990-", 8_999_990, 8_999_999),
        ("8999990-9999999", 8_999_990, 8_999_999),
    ):
        answer = http_get(url, headers={"Range": f"bytes={wanted}"})
        assert (answer.status_code, answer.content) == (206, data[first : last + 1])
        assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(data)}"
        headers = {"Range": "bytes=0-0", "If-Range": answer.headers["etag"]}
        assert http_get(url, headers=headers).content == data[:1]


def test_other_ranges_are_ignored(runtime: Runtime) -> None:
    """The answer is the whole picture."""
    [image] = runtime.api.finish(runtime.api.submit("a mug"))["images"]
    url = f"{runtime.api.url}{image['url']}"
    data = http_get(url).content
    for headers in (
        *({"Range": wanted} for wanted in ("bytes=9000000-", "bytes=5-4", "bytes=-5", "a=0-1")),
        {"Range": "bytes=0-1,5-6"},
        {"Range": "bytes=0-1", "If-Range": '"another"'},
    ):
        answer = http_get(url, headers=headers)
        assert (answer.status_code, answer.content == data) == (200, True), headers


def pages_of(api: Api, limit: int) -> Any:
    """Yield the items of each page."""
    cursor = None
    while True:
        query = {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
        answer: httpx.Response = api.client.get(JOBS, params=query)
        assert answer.status_code == 200, answer.text[:200]
        assert len(json.dumps(answer.text)) < 6 * 2**20
        yield answer.json()["items"]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            return
