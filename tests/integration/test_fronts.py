"""What may stand in front of the API: fronts of Lambda, and proxies that serve it below a path."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from devkit.stack import EmbeddedSqs, Stack
from tests.support.function_driver import ANSWER

PROJECT = Path(__file__).parents[2]
BASE = "/images"
ORDER = json.dumps({"prompt": "a mug", "size": "256x256"})

Answer = dict[str, Any]
Front = Callable[..., Answer]


def rest_api(method: str, path: str, headers: dict[str, str], body: str | None) -> Answer:
    """Return the event of a REST API (API Gateway Developer Guide, "Input format")."""
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "requestContext": {
            "stage": "prod",
            "path": f"/prod{path}",
            "httpMethod": method,
            "requestTimeEpoch": 1,
            "identity": {"sourceIp": "127.0.0.1"},
        },
        "body": body,
        "isBase64Encoded": False,
    }


def balancer(method: str, path: str, headers: dict[str, str], body: str | None) -> Answer:
    """Return the event of a load balancer ("Lambda functions as targets")."""
    return {
        "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:x"}},
        "httpMethod": method,
        "path": path,
        "queryStringParameters": {},
        "headers": {**headers, "x-forwarded-for": "127.0.0.1"},
        "body": body or "",
        "isBase64Encoded": False,
    }


def function_url(method: str, path: str, headers: dict[str, str], body: str | None) -> Answer:
    """Return the event of a function URL, in the format of HTTP APIs."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "domainName": "x.lambda-url.us-east-1.on.aws",
            "http": {"method": method, "path": path, "sourceIp": "127.0.0.1"},
            "stage": "$default",
            "timeEpoch": 1,
        },
        "body": body,
        "isBase64Encoded": False,
    }


FRONTS = pytest.mark.parametrize("front", [rest_api, balancer, function_url])


@pytest.fixture(scope="module")
def sqs(servers: Stack) -> Iterator[EmbeddedSqs]:
    """Give an SQS that this module has for itself."""
    with EmbeddedSqs(
        servers.folder / "sqs-of-fronts", visibility_timeout_seconds=60
    ).running() as server:
        yield server


@pytest.fixture(scope="module")
def invoke(
    database_url: str, servers: Stack, sqs: EmbeddedSqs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Any], Answer]]:
    """Give what invokes the function, whose public address has a path."""
    assert servers.redis is not None
    environment = {
        **os.environ,
        **sqs.environment,
        "DATABASE_URL": database_url,
        "REDIS_URL": servers.redis.url,
        "IMAGE_DIR": str(tmp_path_factory.mktemp("images")),
        "PUBLIC_BASE_URL": f"https://shop.example.com{BASE}",
        "PYTHONPATH": str(PROJECT),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.function_driver", "functions.api"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def call(event: Any) -> Answer:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps({"event": event, "remaining_ms": 20_000}) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                if line.startswith(ANSWER):
                    answer: Answer = json.loads(line.removeprefix(ANSWER))["result"]
                    return answer
            raise AssertionError("the function's process has ended")

        yield call
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


def header(answer: Answer, name: str) -> str:
    """Return a header, wherever the front wants it."""
    several = answer.get("multiValueHeaders") or {}
    one = answer.get("headers") or {}
    return str(one.get(name) or several[name][0])


@FRONTS
def test_a_job_is_submitted_through_each_front(
    invoke: Callable[[Any], Answer], front: Front
) -> None:
    """With the path of PUBLIC_BASE_URL, or without it: proxies differ in whether they leave it."""
    headers = {"Host": "localhost", "Content-Type": "application/json"}
    for path in (f"{BASE}/v1/generations", "/v1/generations"):
        answer = invoke(front("POST", path, headers, ORDER))
        assert answer["statusCode"] == 202, answer
        job = json.loads(answer["body"])
        assert job["urls"]["self"] == f"https://shop.example.com{BASE}/v1/generations/{job['id']}"


@FRONTS
def test_a_problem_is_text_and_a_picture_is_encoded(
    invoke: Callable[[Any], Answer], front: Front
) -> None:
    """A REST API hands on the body as it is."""
    problem = invoke(front("GET", "/v1/nothing", {"Host": "localhost"}, None))
    assert (problem["statusCode"], problem["isBase64Encoded"]) == (404, False)
    assert json.loads(problem["body"])["code"] == "not_found"
    assert header(problem, "content-type") == "application/problem+json"
    picture = invoke(front("GET", "/assets/sample-1.png", {"Host": "localhost"}, None))
    assert (picture["statusCode"], picture["isBase64Encoded"]) == (200, True)
    assert base64.b64decode(picture["body"]).startswith(b"\x89PNG")


@FRONTS
@pytest.mark.parametrize("host", ["localhost:1:2", "local host", "[::1"])
def test_a_malformed_host_is_a_bad_request(
    invoke: Callable[[Any], Answer], front: Front, host: str
) -> None:
    """And no error of the function."""
    assert invoke(front("GET", "/v1/options", {"Host": host}, None))["statusCode"] == 400


def test_the_page_is_served_below_the_path(invoke: Callable[[Any], Answer]) -> None:
    """Its files lie beside it, so the address needs its slash."""
    host = {"Host": "localhost"}
    moved = invoke(function_url("GET", BASE, host, None))
    assert (moved["statusCode"], header(moved, "location")) == (308, f"{BASE}/")
    page = invoke(function_url("GET", f"{BASE}/", host, None))
    assert page["statusCode"] == 200
    assert 'src="assets/app.js"' in page["body"]
    assert invoke(function_url("GET", f"{BASE}/assets/app.js", host, None))["statusCode"] == 200
    assert invoke(function_url("GET", f"{BASE}s/assets/app.js", host, None))["statusCode"] == 404


@pytest.mark.parametrize("event", [{}, {"source": "serverless-plugin-warmup"}, {"warmer": True}])
def test_events_that_are_no_requests_are_answered(
    invoke: Callable[[Any], Answer], event: Any
) -> None:
    """A function that fails them counts as failing, and AWS repeats them."""
    assert invoke(event)["outcome"] == "rejected"
