"""Constants of the code that hold only together, each broken once."""

from collections.abc import Iterator

import pytest

from shared.api.sse_streaming import StreamTimings
from shared.generation.lease import EXTENSIONS_A_LEASE

EXTENSIONS_LEAST = 4
"""A lease that is extended less often is lost to one pause of a process that computes."""

GATEWAY_SECONDS = 30
"""The longest integration timeout of an HTTP API (API Gateway Developer Guide, "Quotas for
configuring and running an HTTP API"); other gateways wait longer."""


def faults(extensions: int, timings: StreamTimings) -> Iterator[str]:
    """Yield what is wrong with these constants."""
    if extensions < EXTENSIONS_LEAST:
        yield f"fewer than {EXTENSIONS_LEAST} extensions a lease"
    if timings.ping_after + timings.tick >= GATEWAY_SECONDS:
        yield "a gateway cuts off a quiet stream"


def test_the_constants_hold_together() -> None:
    """As they are."""
    assert list(faults(EXTENSIONS_A_LEASE, StreamTimings())) == []


@pytest.mark.parametrize(
    ("extensions", "timings", "fault"),
    [
        (EXTENSIONS_LEAST - 1, StreamTimings(), "extensions a lease"),
        (EXTENSIONS_LEAST, StreamTimings(ping_after=29), "quiet stream"),
    ],
)
def test_a_constant_that_does_not_fit_is_named(
    extensions: int, timings: StreamTimings, fault: str
) -> None:
    """With what follows from it."""
    assert fault in "\n".join(faults(extensions, timings))
