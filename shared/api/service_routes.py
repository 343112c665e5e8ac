"""Routes of the service itself: what a request may ask for, and the service's health."""

from collections.abc import Callable

import structlog
from fastapi import APIRouter, Response

from shared.api.context import ApiContext, Context
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
    StylesBody,
)
from shared.errors import DarkroomError
from shared.imaging.media_types import MEDIA_TYPES, UPLOAD_MAX_BYTES
from shared.imaging.params import DEFAULT_SIZE, PROMPT_MAX_CHARS
from shared.imaging.providers.mock import MockSettings
from shared.imaging.providers.mock_scripts import SCRIPTS
from shared.imaging.styles import DEFAULT_STYLE, STYLES
from shared.settings import Settings
from shared.status import JobStatus

log = structlog.get_logger(__name__)


router = APIRouter(tags=["service"])

_NOT_READY = problems(service_unavailable="unavailable: redis")[503]

_STYLES = [
    StyleBody(id=name, title=style.title, description=style.description)
    for name, style in STYLES.items()
]
_SCRIPTS = [ScriptBody(tag=script.example, meaning=script.meaning) for script in SCRIPTS]


@router.get("/v1/styles", summary="List styles", responses={200: examples("All styles.", "styles")})
async def list_styles(api: Context) -> StylesBody:
    """Return the presets of scene and light that a request may name."""
    return StylesBody(items=_STYLES, default=DEFAULT_STYLE, scripts=_scripts_of(api.settings))


@router.get(
    "/v1/options", summary="List options", responses={200: examples("All options.", "options")}
)
async def list_options(api: Context) -> OptionsBody:
    """Return the sizes, styles and limits of requests, the statuses of jobs, and error codes."""
    offer = api.settings.provider.offer(api.settings)
    return OptionsBody(
        sizes=offer.sizes,
        default_size=DEFAULT_SIZE,
        styles=_STYLES,
        default_style=DEFAULT_STYLE,
        images_max=offer.images_max,
        prompt_max_chars=PROMPT_MAX_CHARS,
        upload_media_types=MEDIA_TYPES,
        upload_max_bytes=UPLOAD_MAX_BYTES,
        statuses=[
            StatusTitleBody(status=status, title=status.label, is_final=status.is_terminal)
            for status in JobStatus
        ],
        errors=[
            ErrorTitleBody(code=kind.code, title=kind.title, retryable=kind.retryable)
            for kind in JOB_ERRORS
        ],
        scripts=_scripts_of(api.settings),
    )


def _scripts_of(settings: Settings) -> list[ScriptBody]:
    is_scripted = settings.mocks_provider and MockSettings.of(settings).obeys_scripts
    return _SCRIPTS if is_scripted else []


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
    found = {name: await _check(api, ask) for name, ask in api.services.checks().items()}
    if all(state == "ok" for state in found.values()):
        return ReadyBody(status="ready", checks=found)
    down = ", ".join(name for name, state in found.items() if state != "ok")
    return problem("service_unavailable", f"unavailable: {down}", checks=found)


async def _check(api: ApiContext, ask: Callable[[], None]) -> str:
    try:
        await api.run(ask)
    except DarkroomError as error:
        # The reason names servers: it is for operators, not for clients.
        log.warning("not ready", reason=str(error))
        return "away"
    return "ok"
