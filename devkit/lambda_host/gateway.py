"""An HTTP API of API Gateway on one machine: real HTTP in front of a Lambda function.

`python -m devkit.lambda_host.gateway` takes its settings from the environment.
"""

import asyncio
import json
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, ParamSpec, TypeVar
from uuid import uuid4

import structlog
import typer
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from devkit.environment import adopt, with_aws_variables
from devkit.lambda_host.function import LambdaFunction
from devkit.lambda_host.function_process import (
    PAYLOAD_MAX_BYTES,
    TIMED_OUT,
    TOO_LONG,
    Outcome,
)
from devkit.lambda_host.http_payload import http_event_of, http_response_of
from devkit.lambda_host.joined_parts import FiledResponse, ranged, whole_of
from devkit.lambda_host.on_disk import WaitingBytes
from devkit.lambda_host.sandbox import SandboxPool
from devkit.lambda_host.stopping import StopSignals
from local.web.server import (
    WebServer,
    address_of,
    check_exposure,
    listen,
    run_program,
    server_config,
)
from shared.settings import Settings

BODY_MAX_BYTES = 10_000_000
"""API Gateway Developer Guide, "Quotas for configuring and running an HTTP API": payload size
10 MB."""

FREE_SANDBOX_WITHIN_SECONDS = 1.0
"""How long a request may wait while all sandboxes are busy, before it is throttled."""

GRACE_SECONDS = 2.0
"""How long a stopping gateway waits for what runs."""

FAREWELL_SECONDS = 0.3
"""What the answers to killed invocations need to get out; uvicorn looks each 0.1 s."""

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger(__name__)

TOO_LARGE = JSONResponse({"message": "Request Entity Too Large"}, 413)
SERVER_ERROR = JSONResponse({"message": "Internal Server Error"}, 500)
UNAVAILABLE = JSONResponse({"message": "Service Unavailable"}, 503)


class HttpGateway:
    """An HTTP API that runs its function once for each request, until SIGTERM or SIGINT."""

    def __init__(
        self, function: LambdaFunction, concurrency: int, listening: socket.socket
    ) -> None:
        self._pool = SandboxPool(function, concurrency)
        # Megabytes of JSON and base64 are made out of the event loop's way, and one by one.
        self._thread = ThreadPoolExecutor(1, "payloads")
        self._socket = listening
        self._server = WebServer(server_config(self), self._say_ready)

    def run(self) -> None:
        """Serve until asked to stop, then wait for what runs; a second signal ends the wait."""
        with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
            runner.run(self._serve())
        log.info("api stopped")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; the function runs to its end even if the client has left."""
        try:
            response = await self._run(Request(scope, receive))
        except ClientDisconnect:
            return
        # No other reference to a body is left: memory is held by clients that read alone.
        await response(scope, receive, send)

    async def _run(self, request: Request) -> Response:
        body = await _read_body(request)
        if body is None:
            return TOO_LARGE
        response, is_too_long = await self._invoke(request, body)
        if not is_too_long or request.method != "GET":
            return await self._in_thread(FiledResponse, response)

        async def get_part(first: int) -> Response:
            return (await self._invoke(ranged(request, first), body))[0]

        return await whole_of(get_part) or response

    async def _invoke(self, request: Request, body: bytes) -> tuple[Response, bool]:
        """Run the function once; return its response, and whether it returned too many bytes."""
        payload = await self._in_thread(_payload_of, request, body)
        if len(payload) > PAYLOAD_MAX_BYTES:
            # The gateway would take it, but Lambda does not.
            return TOO_LARGE, False
        try:
            async with self._pool.free_sandbox(FREE_SANDBOX_WITHIN_SECONDS) as sandbox:
                result = await sandbox.invoke(payload)
        except TimeoutError:
            log.warning("request throttled", concurrency=self._pool.concurrency)
            return UNAVAILABLE, False
        response = await self._in_thread(_response_to, result, request.method)
        return response, result.error_type == TOO_LONG

    async def _in_thread(self, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(make, *args, **kwargs))

    async def _serve(self) -> None:
        stop = StopSignals()
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(self._warm_and_serve())
            await stop.asked.wait()
            log.info("api stopping", grace_seconds=GRACE_SECONDS)
            self._server.should_exit = True
            await stop.wait_for([serving], GRACE_SECONDS)
            # Clients of killed invocations receive an answer, and their connections end.
            await self._pool.close()
            await stop.wait_for([serving], FAREWELL_SECONDS)
            self._server.force_exit = True

    async def _warm_and_serve(self) -> None:
        async with self._pool.free_sandbox() as sandbox:
            failure = await sandbox.warm()
        if self._server.should_exit:
            return
        if failure is not None:
            log.error(
                "function init failed",
                function=self._pool.function.name,
                error_type=failure.error_type,
                error=failure.payload.decode(errors="replace"),
            )
        await self._server.serve(sockets=[self._socket])

    def _say_ready(self) -> None:
        log.info(
            "api ready",
            address=address_of(self._socket),
            function=self._pool.function.name,
            concurrency=self._pool.concurrency,
        )


def _payload_of(request: Request, body: bytes) -> bytes:
    http_event = http_event_of(request, body, str(uuid4()), datetime.now(UTC))
    return json.dumps(http_event, ensure_ascii=False, separators=(",", ":")).encode()


def _response_to(result: Outcome, method: str) -> Response:
    if result.error_type == TIMED_OUT:
        return UNAVAILABLE
    if result.error_type is None:
        try:
            return http_response_of(result.payload, method)
        except ValueError as error:
            log.warning("response malformed", aws_request_id=result.request_id, error=str(error))
    return SERVER_ERROR


async def _read_body(request: Request) -> bytes | None:
    """Return the body; None, unread, once it is known to be above the limit.

    Raises:
        ClientDisconnect: The client left before its end.
    """
    if int(request.headers.get("content-length", 0)) > BODY_MAX_BYTES:
        return None
    taken = WaitingBytes()
    async for chunk in request.stream():
        taken.write(chunk)
        if taken.size > BODY_MAX_BYTES:
            return None
    return taken.all()


def main(
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Default: API_PORT.")] = None,
    handler: Annotated[str, typer.Option(metavar="HANDLER")] = "functions.api.handler",
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 20,
    # An integration of an HTTP API may take 30 s (API Gateway, "Quotas for HTTP APIs").
    timeout_seconds: Annotated[float, typer.Option(min=0.001, help="Of the function.")] = 29.0,
) -> None:
    """Serve an HTTP API with one function behind its `$default` route."""

    def build(settings: Settings) -> Callable[[], None]:
        check_exposure(settings, settings.api_host)
        adopt(with_aws_variables(os.environ, settings.queue_url))
        environment = {**os.environ, "API_CONCURRENCY": str(concurrency)}
        function = LambdaFunction(handler, timeout_seconds, environment)
        # Listens before it is ready: clients that connect early wait.
        listening = listen(settings.api_host, settings.api_port if port is None else port)
        return HttpGateway(function, concurrency, listening).run

    raise typer.Exit(run_program("lambda_host", build))


if __name__ == "__main__":
    typer.run(main)
