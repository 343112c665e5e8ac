"""The fixtures `runtime` and `browsing`: each test of the page runs on both runtimes."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.browser import Browsing, chromium
from tests.support.runtime import TIMINGS, Runtime
from tests.support.tidiness import tidy

TIMINGS_OF_PEOPLE = {
    **TIMINGS,
    "SOFT_TIME_LIMIT": "60",
    "TIME_LIMIT": "70",
    "LEASE_SECONDS": "3",
    "MOCK_STEP_SECONDS": "0.2",
}
"""A page shows what lasts: no job is stopped here by a limit."""


@pytest.fixture(scope="session")
def runtime_named(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], Runtime]]:
    """Give each runtime by its name, with time to look on."""
    made: dict[str, Runtime] = {}

    def named(name: str) -> Runtime:
        if name not in made:
            made[name] = Runtime(name, tmp_path_factory.mktemp(name), TIMINGS_OF_PEOPLE)
        return made[name]

    yield named
    for runtime in made.values():
        runtime.close()


@pytest.fixture(params=["celery", "lambda"])
def runtime(
    request: pytest.FixtureRequest, runtime_named: Callable[[str], Runtime]
) -> Iterator[Runtime]:
    """Give a runtime that is up, with no job in it; see the contract tests."""
    with tidy(runtime_named(request.param)) as runtime:
        yield runtime


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Give the browser."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def browsing(
    browser: Browser, runtime: Runtime, request: pytest.FixtureRequest
) -> Iterator[Browsing]:
    """Give tabs of their own to a test.

    Ends by checking that the console has no error, the page's policy was kept, and no server
    but the API received a request.
    """
    browsing = Browsing(browser, request.node.callspec.params["runtime"])
    yield browsing
    browsing.close()
