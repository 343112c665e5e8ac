"""Which model a claim is for, against PostgreSQL: rows of this version, and of any other."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine

from shared.jobs.attempt_store import AttemptStore
from shared.jobs.job_store import JobStore
from shared.jobs.model import Claim
from tests.support.builders import new_job
from tests.support.database import Database


@pytest.mark.parametrize(
    ("columns", "params", "called"),
    [
        ((None, None), {}, ("mock", "mock-1")),
        ((None, None), {"model": "far-2"}, ("far", "far-2")),
        ((None, None), {"model": "unknown"}, ("mock", "unknown")),
        (("far", "far-2"), {}, ("far", "far-2")),
        (("gone", "gone-1"), {}, ("mock", "mock-1")),
        (("gone", "gone-1"), {"model": "gone-1"}, ("mock", "gone-1")),
        ((None, None), {"model": {"a": [1]}}, ("mock", '{"a": [1]}')),
    ],
)
def test_a_claim_says_which_model_is_called(
    engine: Engine,
    jobs: JobStore,
    database: Database,
    columns: tuple[str | None, str | None],
    params: dict[str, Any],
    called: tuple[str, str],
) -> None:
    """That of the row, if this worker offers it; else the one asked for; else the default one."""
    provider, model = columns
    owned = new_job()
    asked = {**owned.params, **params}
    job = jobs.insert(
        replace(owned, provider=provider, models=[model] if model else [], params=asked)
    )
    store = AttemptStore(
        engine,
        runtime="celery",
        owner="host:1",
        lease_seconds=30,
        time_limit_seconds=100,
        models={"mock-1": "mock", "far-2": "far"},
    )
    claim = store.claim(job.id)
    assert isinstance(claim, Claim)
    assert claim.model == called[1]
    [line] = database.attempts(job.id)
    assert (line["provider"], line["model"]) == called
    row = database.job(job.id)
    assert (row["provider"], row["model"]) == called
