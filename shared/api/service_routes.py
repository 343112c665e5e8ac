"""Routes of the service itself: what a request may ask for, and the service's health."""

import asyncio
from collections.abc import Callable

import structlog
from fastapi import APIRouter, Response

from shared.api.dependencies import Context
from shared.api.documentation import examples, problems
from shared.api.problems import problem
from shared.api.schemas import (
    JOB_ERRORS,
    ErrorTitleBody,
    HealthBody,
    OptionsBody,
    ReadyBody,
    ScriptBody,
    StatusTitleBody,
    StyleBody,
)
from shared.errors import DarkroomError, SchemaMissing
from shared.events.background import RESTARTS
from shared.imaging.media_types import UPLOAD_MAX_BYTES, UPLOAD_MEDIA_TYPES
from shared.imaging.params import AUTO, DEFAULT_SIZE, PROMPT_MAX_CHARS
from shared.imaging.providers.mock import MockSettings
from shared.imaging.providers.mock_scripts import SCRIPTS
from shared.imaging.styles import DEFAULT_STYLE, STYLES
from shared.status import JobStatus

log = structlog.get_logger(__name__)


router = APIRouter(tags=["service"])

_NOT_READY = problems(service_unavailable="unavailable: redis")[503]


@router.get(
    "/v1/options", summary="List options", responses={200: examples("All options.", "options")}
)
async def list_options(api: Context) -> OptionsBody:
    """Return the sizes, styles and limits of requests, the statuses of jobs, and error codes."""
    offer = api.settings.provider.offer(api.settings)
    is_scripted = api.settings.mocks_provider and MockSettings.of(api.settings).obeys_scripts
    return OptionsBody(
        sizes=[size for size in offer.sizes if size != AUTO],
        default_size=DEFAULT_SIZE,
        styles=[
            StyleBody(id=name, title=style.title, description=style.description)
            for name, style in STYLES.items()
        ],
        default_style=DEFAULT_STYLE,
        images_max=offer.images_max,
        prompt_max_chars=PROMPT_MAX_CHARS,
        upload_media_types=UPLOAD_MEDIA_TYPES,
        upload_max_bytes=UPLOAD_MAX_BYTES,
        statuses=[
            StatusTitleBody(status=status, title=status.label, is_final=status.is_terminal)
            for status in JobStatus
        ],
        errors=[
            ErrorTitleBody(code=kind.code, title=kind.title, retryable=kind.retryable)
            for kind in JOB_ERRORS
        ],
        scripts=[
            ScriptBody(tag=script.example, meaning=script.meaning)
            for script in (SCRIPTS if is_scripted else ())
        ],
    )


@router.get("/healthz", summary="Check the process")
async def get_health() -> HealthBody:
    """Respond without a request to any other server."""
    return HealthBody(status="ok")


@router.get(
    "/readyz",
    summary="Check all servers",
    response_model=ReadyBody,
    responses={200: examples("All servers respond.", "ready"), 503: _NOT_READY},
)
async def get_readiness(api: Context) -> Response | ReadyBody:
    """Make a round trip to each server that requests need."""
    found = {
        name: await asyncio.to_thread(_check, ask) for name, ask in api.services.checks().items()
    }
    if all(state == "ok" for state in found.values()):
        return ReadyBody(status="ready", checks=found, restarts=dict(RESTARTS))
    down = ", ".join(
        name if state == "away" else f"{name} ({state})"
        for name, state in found.items()
        if state != "ok"
    )
    return problem(
        "service_unavailable", f"unavailable: {down}", checks=found, restarts=dict(RESTARTS)
    )


def _check(ask: Callable[[], None]) -> str:
    try:
        ask()
    except DarkroomError as error:
        # The reason names servers: it is for operators, not for clients.
        log.warning("not ready", reason=str(error))
        return "schema missing" if isinstance(error, SchemaMissing) else "away"
    return "ok"
