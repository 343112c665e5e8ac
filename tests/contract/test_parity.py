"""Parity: what can be seen of a scripted job is the same, whichever runtime ran it.

The scenarios, and the comparison of their histories, are those of `darkroom parity`.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest

from devkit.parity.compare import compare
from devkit.parity.play import LIMITS, play, play_together
from devkit.parity.scenarios import SCENARIOS, Scenario
from devkit.runtimes import RUNTIMES
from tests.support.runtime import Runtime
from tests.support.tidiness import tidy


@pytest.fixture(scope="module")
def limited_runtimes(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Mapping[str, Runtime]]:
    """Give both runtimes, with the limits that the scenarios are written for."""
    with ExitStack() as stack:
        runtimes = {}
        for name in RUNTIMES:
            runtimes[name] = Runtime(name, tmp_path_factory.mktemp(f"parity-{name}"), LIMITS)
            stack.callback(runtimes[name].close)
        yield runtimes


@pytest.fixture
def both_runtimes(
    limited_runtimes: Mapping[str, Runtime],
) -> Iterator[Mapping[str, Runtime]]:
    """Give both runtimes, with no job in them."""
    with ExitStack() as stack:
        for runtime in limited_runtimes.values():
            stack.enter_context(tidy(runtime))
        yield limited_runtimes


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_job_has_the_same_history_on_both_runtimes_and_the_end_it_must_have(
    scenario: Scenario, both_runtimes: Mapping[str, Runtime]
) -> None:
    """Messages, stream, records, rows and bytes are equal, but for ids and the time of day."""
    histories = play_together(
        play(scenario, runtime.services) for runtime in both_runtimes.values()
    )
    comparison = compare(scenario, dict(zip(both_runtimes, histories, strict=True)))
    assert not comparison.faults, "\n".join(comparison.faults)
