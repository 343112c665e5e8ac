"""The mock acts out every error that a job may end with, at no cost."""

import math

from shared.imaging.providers.mock_scripts import SCRIPTS, ScriptTag
from tests.support.runtime import Runtime

ERRORS = [tag for tag in SCRIPTS if tag.code and tag.unit == "attempts" and tag.name != "crash"]


def prompt_of(tag: ScriptTag, attempts: float) -> str:
    """Return a prompt that makes so many attempts end with the error of a tag."""
    return f"a mug [[{tag.name}]]" if math.isinf(attempts) else f"a mug [[{tag.name}:{attempts}]]"


def test_each_error_ends_a_job(runtime: Runtime) -> None:
    """With its own code, after as many attempts as may help, and nothing charged or in doubt."""
    jobs = {tag: runtime.submit(prompt_of(tag, max(tag.default, 3))) for tag in ERRORS}
    for tag, job in jobs.items():
        rows = runtime.finish(job)
        error = rows.job["error"]
        assert (rows.job["status"], error["code"]) == ("FAILED", tag.code), tag.name
        assert len(rows.attempts) == (3 if error["retryable"] else 1), tag.name
        assert {line["charge_state"] for line in rows.attempts} == {"none"}, tag.name
        receipt = runtime.api.get(job)["receipt"]
        assert (receipt["charged_calls"], receipt["unknown_calls"]) == (0, 0), tag.name


def test_an_error_that_another_attempt_mends_may_come_once(runtime: Runtime) -> None:
    """The number says how many attempts end with it."""
    job = runtime.submit("a mug [[corrupt:1]]")
    rows = runtime.finish(job)
    assert rows.job["status"] == "COMPLETED"
    assert [line["outcome"] for line in rows.attempts] == ["failed", "completed"]
