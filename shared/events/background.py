"""Tasks that live as long as an API serves streams: restarted after any error, and counted."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import structlog

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0

RESTARTS: Counter[str] = Counter()
"""How often the tasks of this process failed, by name; `/readyz` shows it."""

log = structlog.get_logger(__name__)


async def keep_running(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do some work that has no end; after an error again, later each time, until cancelled."""
    pause_seconds = FIRST_PAUSE_SECONDS
    loop = asyncio.get_running_loop()
    while True:
        began_at = loop.time()
        try:
            await work()
        except Exception:  # Without the task no client of this process would get events.
            RESTARTS[name] += 1
            log.exception("background task failed", task=name, failures=RESTARTS[name])
        else:
            return
        if loop.time() - began_at > LONGEST_PAUSE_SECONDS:
            pause_seconds = FIRST_PAUSE_SECONDS
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)
