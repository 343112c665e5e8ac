"""A small web application that returns what reached it, for uvicorn and, by Mangum, for Lambda."""

import base64
from collections.abc import Callable
from typing import Any

from mangum import Mangum
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

BINARY = bytes(range(256))

_CHANGED_BY_A_GATEWAY = {"x-forwarded-for", "x-forwarded-port", "x-forwarded-proto", "host"}
"""The port differs from one server to the next."""

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


async def reflect(request: Request) -> Response:
    """Answer with all that an application may ask of its request."""
    assert request.client is not None
    return JSONResponse(
        {
            "method": request.method,
            "path": request.url.path,
            "path_parameter": request.path_params["rest"],
            "query": request.url.query,
            "parameters": request.query_params.multi_items(),
            "scheme": request.url.scheme,
            "client": request.client.host,
            "cookies": request.cookies,
            "headers": sorted(
                (name, value)
                for name, value in request.headers.items()
                if name not in _CHANGED_BY_A_GATEWAY | {"connection", "transfer-encoding"}
            ),
            "body": base64.b64encode(await request.body()).decode(),
        }
    )


async def binary(_request: Request) -> Response:
    """Answer with every byte there is."""
    return Response(BINARY, media_type="image/png")


async def cookies(_request: Request) -> Response:
    """Answer with two cookies, no body, and somewhere else to go."""
    response = RedirectResponse("/elsewhere", status_code=303)
    response.set_cookie("a", "1")
    response.set_cookie("b", "2", httponly=True)
    return response


async def nothing(_request: Request) -> Response:
    """Answer without a body."""
    return Response(status_code=204)


app = Starlette(
    routes=[
        Route("/binary", binary),
        Route("/cookies", cookies),
        Route("/nothing", nothing),
        Route("/reflect/{rest:path}", reflect, methods=_METHODS),
    ]
)
handler: Callable[[dict[str, Any], Any], Any] = Mangum(app, lifespan="off")
