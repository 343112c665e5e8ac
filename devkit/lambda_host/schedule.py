"""Invokes a function at a fixed rate, as an EventBridge rule does."""

import threading
import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from devkit.lambda_host.function import ACCOUNT_ID
from devkit.lambda_host.sandbox import Sandbox


class Schedule:
    """Runs one function at once and then each `every_seconds`, never twice at a time."""

    def __init__(self, sandbox: Sandbox, every_seconds: float) -> None:
        self._sandbox = sandbox
        self._every_seconds = every_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="schedule", daemon=True)

    def start(self) -> None:
        """Begin with the first invocation."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no more invocations; one that runs is carried on."""
        self._stopping.set()

    def join(self) -> None:
        """Wait until none runs; `stop` comes first."""
        self._thread.join()

    def _serve(self) -> None:
        next_at = time.monotonic()
        while not self._stopping.wait(max(0.0, next_at - time.monotonic())):
            self._sandbox.invoke(_scheduled_event())
            next_at = max(next_at + self._every_seconds, time.monotonic())


def _scheduled_event() -> dict[str, Any]:
    """Return what EventBridge sends (its User Guide, "Creating a rule that runs on a schedule")."""
    return {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT_ID,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": "us-east-1",
        "resources": [f"arn:aws:events:us-east-1:{ACCOUNT_ID}:rule/sweep"],
        "detail": {},
    }
