"""Tasks of the API that live as long as there are streams."""

import asyncio

import pytest

from shared.events.background import RESTARTS, keep_running
from tests.support.wait import turn


def test_task_that_fails_begins_anew_and_is_counted() -> None:
    """Whatever the error; one that ends in order has ended."""
    errors: list[Exception] = [ExceptionGroup("both", [KeyError(), ValueError()])]
    RESTARTS.clear()

    async def work() -> None:
        if errors:
            raise errors.pop()

    asyncio.run(keep_running("reader", work))
    assert (errors, dict(RESTARTS)) == ([], {"reader": 1})


def test_task_that_is_cancelled_has_ended() -> None:
    """At the end of the last stream."""
    RESTARTS.clear()

    async def cancel() -> None:
        task = asyncio.create_task(keep_running("reader", asyncio.Event().wait))  # type: ignore[arg-type] # its value is not used
        await turn()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert not RESTARTS
