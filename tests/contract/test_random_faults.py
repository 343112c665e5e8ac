"""The published promises, checked on what is left after random faults: a short `make torture`."""

import pytest

from tests.support.runtime import Runtime
from tests.torture import play

FAULTS = 8


def test_promises_hold_after_random_faults(
    runtime: Runtime, request: pytest.FixtureRequest
) -> None:
    """Each job ends once, by one attempt, with everything it did in ledger and stream."""
    seed = request.config.getoption("randomly_seed")
    print(f"drawn from --randomly-seed={seed}")
    play(runtime, seed, FAULTS)
