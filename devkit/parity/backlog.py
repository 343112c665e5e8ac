"""Other jobs that wait together with the job of a scenario, and what holds them back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from devkit.parity.scenarios import SIZE, Backlog
from shared.database.statements import fetch_all
from shared.imaging.request import GenerationRequest
from shared.jobs.model import Job
from shared.jobs.workspace_limits import LimitStore
from shared.wiring import Services

_OWN_WORKSPACE = "default"

_MAKE_WORKSPACE = (
    "INSERT INTO workspaces (id, name) VALUES (%(id)s, %(id)s) ON CONFLICT DO NOTHING RETURNING 1"
)

_SPEND = (
    "INSERT INTO workspace_costs (workspace_id, day, microdollars)"
    " VALUES (%(id)s, (now() AT TIME ZONE 'UTC')::date, 1) ON CONFLICT DO NOTHING RETURNING 1"
)


@contextmanager
def held_back(backlog: Backlog | None, services: Services) -> Iterator[Callable[[], object]]:
    """Pause the provider, so that all jobs of the body wait; yield what ends the pause.

    Without a backlog nothing is paused.

    Raises:
        ServiceUnavailable: PostgreSQL cannot be reached.
    """
    if backlog is None:
        yield lambda: None
        return
    limits, provider = LimitStore(services.engine), services.settings.provider.name
    fetch_all(services.engine, _MAKE_WORKSPACE, {"id": backlog.workspace_id})
    own = {"running_jobs": 1 if backlog.is_serial else None}
    if backlog.is_budget_spent:
        fetch_all(services.engine, _SPEND, {"id": _OWN_WORKSPACE})
        own["cost_per_day"] = 0
    limits.set(_OWN_WORKSPACE, own)
    limits.pause_provider(provider)
    try:
        yield lambda: limits.resume_provider(provider)
    finally:
        limits.resume_provider(provider)
        limits.set(_OWN_WORKSPACE, dict.fromkeys(own))


def submit_others(count: int, backlog: Backlog, services: Services) -> list[Job]:
    """Submit so many plain jobs of the backlog's workspace."""
    request = GenerationRequest(prompt="Another one", size=SIZE, workspace_id=backlog.workspace_id)
    return [services.submit(request) for _ in range(count)]
