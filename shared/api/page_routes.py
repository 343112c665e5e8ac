"""Files for browsers: the page with its assets, and the documentation of the API."""

import mimetypes
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from shared.api.dependencies import Context

_PAGE = Path(__file__).parent / "page"
_FONTS = Path(__file__).parents[1] / "fonts"
_FILES = {
    "/docs": _PAGE / "docs.html",
    "/favicon.ico": _PAGE / "icon.svg",
    **{
        f"/assets/{path.name}": path
        for pattern in ("*.css", "*.js", "*.png", "*.svg", "*.woff2")
        for folder in (_PAGE, _FONTS)
        for path in folder.glob(pattern)
    },
}
_OF_SWAGGER = {"/assets/swagger-ui-bundle.js", "/assets/swagger-ui.css"}

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
@router.get("/operator")
async def page(request: Request, api: Context) -> Response:
    """Return a page, whose policy allows pictures of the API and of the image store.

    The operator page holds no data: it asks for them with a key.
    """
    origin = api.services.image_store.origin
    images = _OWN_IMAGES if origin is None else f"{_OWN_IMAGES} {origin}"
    policy = _POLICY.format(styles="'self'", images=images)
    name = "operator.html" if request.url.path.endswith("/operator") else "index.html"
    return _serve(request, _PAGE / name, policy)


@router.get("/docs")
@router.get("/favicon.ico")
@router.get("/assets/{_name}")
async def file(request: Request) -> Response:
    """Return a file of the page, or of the documentation of the API."""
    name = request.url.path
    path = _swagger() / Path(name).name if name in _OF_SWAGGER else _FILES.get(name)
    if path is None:
        raise HTTPException(404, "there is no such file")
    return _serve(request, path, DOCS_POLICY if name == "/docs" else FILE_POLICY)


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
def _swagger() -> Path:
    """Return the folder of the files of Swagger UI, a part of fastapi-offline."""
    return Path(str(files("fastapi_offline") / "static"))
