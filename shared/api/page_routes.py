"""Files for browsers: the page with its assets, and the documentation of the API."""

import mimetypes
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from shared.api.context import Context

_PAGE = Path(__file__).parent / "page"
_FONTS = Path(__file__).parents[1] / "fonts"
_ASSETS = {
    path.name: path
    for pattern in ("*.css", "*.js", "*.png", "*.svg", "*.woff2")
    for folder in (_PAGE, _FONTS)
    for path in folder.glob(pattern)
}
_DOCS_ASSETS = {"swagger-ui-bundle.js", "swagger-ui.css"}

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src {styles}; img-src {images};"
    " font-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_OWN_IMAGES = "'self' data: blob:"

mimetypes.add_type("font/woff2", ".woff2")  # a part of Python's own table since 3.13

FILE_POLICY = _POLICY.format(styles="'self'", images=_OWN_IMAGES)
# The script of Swagger UI sets the styles of elements.
DOCS_POLICY = _POLICY.format(styles="'self' 'unsafe-inline'", images=_OWN_IMAGES)


router = APIRouter(include_in_schema=False)


@router.get("/")
async def page(request: Request, api: Context) -> Response:
    """Return the page, whose policy allows pictures of the API and of the image store."""
    origin = api.services.image_store.origin
    images = _OWN_IMAGES if origin is None else f"{_OWN_IMAGES} {origin}"
    policy = _POLICY.format(styles="'self'", images=images)
    return _serve(request, _PAGE / "index.html", policy)


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Return the documentation of the API."""
    return _serve(request, _PAGE / "docs.html", DOCS_POLICY)


@router.get("/favicon.ico")
async def favicon(request: Request) -> Response:
    """Return the icon."""
    return _serve(request, _PAGE / "icon.svg", FILE_POLICY)


@router.get("/assets/{name}")
async def asset(request: Request, name: str) -> Response:
    """Return a file of the page or of the documentation."""
    if name in _DOCS_ASSETS:
        return _serve(request, _docs_folder() / name, FILE_POLICY)
    if name not in _ASSETS:
        raise HTTPException(404, "there is no such file")
    return _serve(request, _ASSETS[name], FILE_POLICY)


def _serve(request: Request, path: Path, policy: str) -> Response:
    data, tag = _load(path)
    headers = {
        "ETag": tag,
        "Cache-Control": "no-cache",
        "Content-Security-Policy": policy,
    }
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Response(data, headers=headers, media_type=media_type)


@cache
def _load(path: Path) -> tuple[bytes, str]:
    data = path.read_bytes()
    return data, f'"{sha256(data).hexdigest()[:32]}"'


@cache
def _docs_folder() -> Path:
    """Return the folder of the files of Swagger UI, a part of fastapi-offline."""
    return Path(str(files("fastapi_offline") / "static"))
