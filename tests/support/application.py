"""The application of the API, taken apart."""

from typing import Any, cast

from fastapi import FastAPI

from shared.api.app import create_app
from shared.api.sse import EventDelivery
from shared.wiring import Services
from tests.support.builders import build_settings


def build_application(**settings: Any) -> FastAPI:
    """Return the application without its guards, connected to nothing."""
    app: Any = create_app(Services(build_settings(**settings)), cast(EventDelivery, None))
    while not isinstance(app, FastAPI):
        app = app.app
    return app
