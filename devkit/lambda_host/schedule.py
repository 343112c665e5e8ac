"""Invokes a function at a fixed rate, as an EventBridge rule does."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from devkit.environment import DEFAULT_REGION
from devkit.lambda_host.function import ACCOUNT_ID
from devkit.lambda_host.sandbox import Sandbox


async def run_schedule(sandbox: Sandbox, every_seconds: float, stopping: asyncio.Event) -> None:
    """Invoke at once and then at each interval, never twice at a time, until `stopping` is set."""
    loop = asyncio.get_running_loop()
    next_at = loop.time()
    while not stopping.is_set():
        await sandbox.invoke(_scheduled_event())
        next_at = max(next_at + every_seconds, loop.time())
        try:
            async with asyncio.timeout_at(next_at):
                await stopping.wait()
        except TimeoutError:
            continue


def _scheduled_event() -> dict[str, Any]:
    """Return what EventBridge sends (its User Guide, "Creating a rule that runs on a schedule")."""
    return {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT_ID,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": DEFAULT_REGION,
        "resources": [f"arn:aws:events:{DEFAULT_REGION}:{ACCOUNT_ID}:rule/sweep"],
        "detail": {},
    }
