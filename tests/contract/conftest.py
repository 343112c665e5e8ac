"""The fixtures `runtime` and `own_runtime`: every contract test runs on both, and tidies up."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing

import pytest

from devkit.runtimes import RUNTIMES
from tests.support.runtime import TIMINGS, Runtime
from tests.support.tidiness import tidy


@pytest.fixture(params=RUNTIMES)
def runtime(
    request: pytest.FixtureRequest, runtime_named: Callable[[str], Runtime]
) -> Iterator[Runtime]:
    """Give a runtime whose servers and processes are up, with no job in it.

    Ends by checking that no key lacks a TTL, no lease is open, no connection is leaked, and
    that rows and events agree.
    """
    with tidy(runtime_named(request.param)) as runtime:
        yield runtime


@pytest.fixture(scope="module", params=RUNTIMES)
def module_runtime(
    request: pytest.FixtureRequest,
    own_settings: Mapping[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Runtime]:
    """Give a runtime that a module has for itself, where its `own_settings` say so."""
    folder = tmp_path_factory.mktemp(request.param)
    with closing(Runtime(request.param, folder, {**TIMINGS, **own_settings})) as runtime:
        yield runtime


@pytest.fixture
def own_runtime(module_runtime: Runtime) -> Iterator[Runtime]:
    """Give the module's own runtime as `runtime` is given, but with `own_settings`."""
    with tidy(module_runtime) as runtime:
        yield runtime
