"""The runtimes one by one, for what may differ between them."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.runtime import Runtime
from tests.support.tidiness import tidy


@pytest.fixture
def celery_runtime(runtime_named: Callable[[str], Runtime]) -> Iterator[Runtime]:
    """Give a Celery worker with its servers, and no job in it."""
    with tidy(runtime_named("celery")) as runtime:
        yield runtime


@pytest.fixture
def lambda_runtime(runtime_named: Callable[[str], Runtime]) -> Iterator[Runtime]:
    """Give Lambda functions with their servers, and no job in them."""
    with tidy(runtime_named("lambda")) as runtime:
        yield runtime
