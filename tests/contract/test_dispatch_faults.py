"""A queue's client that fails in a way that is not foreseen: recovery goes on."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.runtime import Runtime

FOLDER = Path(__file__).parents[1] / "support" / "outside"
FAULT = "Can't shrink pool when in use"


@pytest.fixture(scope="module")
def own_settings() -> Iterator[Mapping[str, str]]:
    """Have every process of the runtime fail to send its first envelope."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield {
            "PYTHONPATH": str(FOLDER),
            "AI_MOCK_MODE": "false",
            "IMAGE_PROVIDER_MODULES": "faulty_dispatch",
            "IMAGE_PROVIDER": "stencil",
            "STENCIL_KEY": "key-of-the-paint-shop",
        }
    for name in ("stencil", "faulty_dispatch"):
        sys.modules.pop(name, None)


def test_an_unforeseen_error_of_the_queue_delays_jobs_and_stops_nothing(
    own_runtime: Runtime,
) -> None:
    """Jobs that only the sweep can start run, once each; the error is in the log."""
    jobs = [own_runtime.accept(f"a stencilled mug {number}") for number in range(5)]
    for job in jobs:
        rows = own_runtime.finish(job)
        assert (rows.job["status"], rows.job["attempt"]) == ("COMPLETED", 1)
    assert FAULT in own_runtime.log_path.read_text()
