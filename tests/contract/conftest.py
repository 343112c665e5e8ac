"""The fixture `runtime`: every contract test runs on both, and leaves nothing behind."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.runtime import Runtime
from tests.support.tidiness import tidy


@pytest.fixture(params=["celery", "lambda"])
def runtime(
    request: pytest.FixtureRequest, runtime_named: Callable[[str], Runtime]
) -> Iterator[Runtime]:
    """Give a runtime whose servers and processes are up, with no job in it.

    Ends by checking that no key lacks a TTL, no lease is open, no connection is leaked, and
    that rows and events tell the same story.
    """
    with tidy(runtime_named(request.param)) as runtime:
        yield runtime
