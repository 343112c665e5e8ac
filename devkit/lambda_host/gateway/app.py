"""The ASGI application of the gateway: reads a request, runs the function, sends its answer.

`HttpGateway` makes it and gives it to uvicorn.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import structlog

from devkit.lambda_host.conversation import InvocationStatus
from devkit.lambda_host.function_pool import FunctionPool
from devkit.lambda_host.gateway.event import HttpRequest, http_event_of
from devkit.lambda_host.gateway.response import (
    INTERNAL_SERVER_ERROR,
    REQUEST_TOO_LARGE,
    SERVICE_UNAVAILABLE,
    HttpResponse,
    as_sent,
    response_of,
)
from devkit.lambda_host.runtime_api import PAYLOAD_MAX_BYTES
from devkit.lambda_host.sandbox import InvocationResult

BODY_MAX_BYTES = 10_000_000
"""API Gateway Developer Guide, "Quotas for configuring and running an HTTP API": payload size
10 MB."""

FREE_SANDBOX_WITHIN_SECONDS = 1.0
"""How long a request may wait while all sandboxes are busy, before it is throttled."""

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_logger = structlog.get_logger()


class GatewayApp:
    """Runs the function once for each request, whether or not its client waits for the answer.

    Args:
        executor: Has at least one thread for each sandbox of the pool.
    """

    def __init__(self, pool: FunctionPool, executor: Executor) -> None:
        self._pool = pool
        self._executor = executor
        self._free_sandboxes = asyncio.Semaphore(pool.concurrency)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        response = await self._respond(scope, receive)
        if response is not None:
            await _send_all(as_sent(response, scope["method"]), send)

    async def _respond(self, scope: Scope, receive: Receive) -> HttpResponse | None:
        if _announced_bytes(scope) > BODY_MAX_BYTES:
            return REQUEST_TOO_LARGE
        body = await _read_body(receive)
        if body is None:
            return None
        if len(body) > BODY_MAX_BYTES:
            return REQUEST_TOO_LARGE
        return await self._run(_request_of(scope, body))

    async def _run(self, request: HttpRequest) -> HttpResponse:
        try:
            async with asyncio.timeout(FREE_SANDBOX_WITHIN_SECONDS):
                await self._free_sandboxes.acquire()
        except TimeoutError:
            _logger.warning("request_throttled", concurrency=self._pool.concurrency)
            return SERVICE_UNAVAILABLE
        try:
            # Megabytes of JSON and base64 are made there too, out of the event loop's way.
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, self._invoke, request)
        finally:
            self._free_sandboxes.release()

    def _invoke(self, request: HttpRequest) -> HttpResponse:
        http_event = http_event_of(request)
        payload = json.dumps(http_event, ensure_ascii=False, separators=(",", ":")).encode()
        if len(payload) > PAYLOAD_MAX_BYTES:
            # The gateway would take it, but Lambda does not.
            return REQUEST_TOO_LARGE
        return _response_to(self._pool.invoke(payload))


def _response_to(result: InvocationResult) -> HttpResponse:
    match result.status:
        case InvocationStatus.OK:
            try:
                return response_of(result.payload)
            except ValueError as error:
                _logger.warning(
                    "response_malformed", aws_request_id=result.request_id, error=str(error)
                )
                return INTERNAL_SERVER_ERROR
        case InvocationStatus.TIMEOUT:
            return SERVICE_UNAVAILABLE
        case _:
            return INTERNAL_SERVER_ERROR


def _announced_bytes(scope: Scope) -> int:
    return next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)


async def _read_body(receive: Receive) -> bytes | None:
    """Read up to the first bytes above the limit; None when the client left before the end."""
    body = bytearray()
    while len(body) <= BODY_MAX_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return bytes(body)


def _request_of(scope: Scope, body: bytes) -> HttpRequest:
    return HttpRequest(
        id=str(uuid4()),
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"],
        headers=tuple(scope["headers"]),
        body=body,
        http_version=scope["http_version"],
        scheme=scope["scheme"],
        client_address=scope["client"][0] if scope["client"] else "",
        server_port=scope["server"][1],
        received_at=datetime.now(UTC),
    )


async def _send_all(response: HttpResponse, send: Send) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": int(response.status),
            "headers": list(response.headers),
        }
    )
    await send({"type": "http.response.body", "body": response.body})
