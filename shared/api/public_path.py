"""An API below a path of another site, as https://shop.example.com/images."""

from urllib.parse import urlsplit

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class PublicPath:
    """Serves requests with the path of PUBLIC_BASE_URL as those without it.

    Some proxies take that path off, and others, as the stage of an API Gateway, leave it on.
    """

    def __init__(self, app: ASGIApp, base_url: str | None) -> None:
        self.app = app
        self._path = urlsplit(base_url or "").path.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI)."""
        app, path = self.app, scope.get("path", "")
        if self._path and path == self._path:
            # The page finds its files beside it.
            app = RedirectResponse(f"{self._path}/", 308)
        elif self._path and path.startswith(f"{self._path}/"):
            scope = {**scope, "path": path.removeprefix(self._path)}
        await app(scope, receive, send)
