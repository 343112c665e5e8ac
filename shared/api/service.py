"""Routes of the service itself: its style presets, and how it is."""

from collections.abc import Callable

import structlog
from fastapi import APIRouter, Response

from shared.api.parts import ApiParts, Parts
from shared.api.problems import MEDIA_TYPE, problem
from shared.api.schemas import HealthBody, ReadyBody, ScriptBody, StyleBody, StylesBody
from shared.errors import DarkroomError
from shared.imaging.scripts import SCRIPTS
from shared.imaging.styles import DEFAULT_STYLE, STYLES

log = structlog.get_logger(__name__)


router = APIRouter(tags=["service"])

_STYLES = [
    StyleBody(id=name, title=style.title, description=style.description)
    for name, style in STYLES.items()
]
_SCRIPTS = [ScriptBody(tag=script.example, meaning=script.meaning) for script in SCRIPTS]


@router.get("/v1/styles", summary="List the style presets")
async def list_styles(parts: Parts) -> StylesBody:
    """Return the presets for product pictures that a request may name."""
    settings = parts.settings
    is_scripted = settings.mocks_provider and settings.obeys_scripts
    return StylesBody(items=_STYLES, default=DEFAULT_STYLE, scripts=_SCRIPTS if is_scripted else [])


@router.get("/healthz", summary="Does the process answer?")
async def healthz() -> HealthBody:
    """Answer, asking nobody else."""
    return HealthBody(status="ok")


@router.get(
    "/readyz",
    summary="Can jobs be taken?",
    response_model=ReadyBody,
    responses={
        503: {
            "description": "Something that is needed is away: `checks` says what.",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}},
        }
    },
)
async def readyz(parts: Parts) -> Response | ReadyBody:
    """Make a round trip to each server that is needed."""
    found = {name: await _check(parts, ask) for name, ask in parts.checks.items()}
    if all(state == "ok" for state in found.values()):
        return ReadyBody(status="ready", checks=found)
    away = ", ".join(name for name, state in found.items() if state != "ok")
    return problem(503, "service_unavailable", f"away: {away}", checks=found)


async def _check(parts: ApiParts, ask: Callable[[], None]) -> str:
    try:
        await parts.threads.run(ask)
    except DarkroomError as error:
        # What went wrong names servers: for operators, not for everybody.
        log.warning("not ready", reason=str(error))
        return "away"
    return "ok"
