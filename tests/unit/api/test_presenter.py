"""Jobs as clients see them, also those whose rows a foreign producer wrote."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from shared.api.presenter import Presenter
from shared.jobs.model import Job
from shared.jobs.views import JobView
from shared.status import JobStatus
from tests.support.builders import build_settings

NOW = datetime(2026, 1, 2, tzinfo=UTC)
DEFAULTS = {
    "prompt": "",
    "style": "studio-white",
    "size": "1024x1024",
    "n": 1,
    "seed": None,
    "metadata": {},
}


def shown(params: dict[str, Any]) -> dict[str, Any]:
    """Return what clients see of a job with these parameters."""
    job = Job(
        id=UUID(int=1),
        task_id="task",
        workspace_id="default",
        user_id=None,
        product_id="cup",
        source_asset_id=None,
        status=JobStatus.PENDING,
        progress=0,
        message="Queued",
        params=params,
        result=None,
        error=None,
        attempt=0,
        max_attempts=3,
        priority=0,
        start_by=None,
        next_attempt_at=None,
        lease_token=0,
        cancel_requested_at=None,
        announced_at=None,
        created_at=NOW,
        started_at=None,
        finished_at=None,
    )
    return Presenter(build_settings()).show(JobView(job)).model_dump()


def test_columns_and_parameters_are_shown_by_their_names() -> None:
    """And nothing that the body does not list."""
    params = {"prompt": "A mug", "style": "baroque", "size": "7x7", "n": 2, "seed": 5}
    found = shown({**params, "metadata": {"order": "7"}, "max_cost": 1, "message": "not this"})
    assert {name: found[name] for name in params} == params
    assert (found["metadata"], found["product_id"], found["message"]) == (
        {"order": "7"},
        "cup",
        "Queued",
    )
    assert "max_cost" not in found
    assert "workspace_id" not in found


@pytest.mark.parametrize(
    "params",
    [
        {},
        dict.fromkeys(DEFAULTS),
        {"prompt": 5, "style": ["a"], "size": {}, "n": "2", "seed": True, "metadata": [1]},
        {"prompt": {"a": 1}, "style": 1, "size": 256, "n": True, "seed": 1.5, "metadata": "x"},
    ],
)
def test_what_a_foreign_producer_got_wrong_has_its_default(params: dict[str, Any]) -> None:
    """The job can be listed, whatever its row holds."""
    found = shown(params)
    assert {name: found[name] for name in DEFAULTS} == DEFAULTS
