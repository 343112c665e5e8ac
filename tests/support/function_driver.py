"""A stand-in for Lambda's runtime client: the handler of a module, called from outside.

Run with the module's name in a process of its own, as it may take over signals. Each line of
standard input is one invocation `{"event": ..., "remaining_ms": ...}`; the last line of its answer
on standard output begins with ANSWER.
"""

import json
import signal
import sys
import time
from importlib import import_module
from typing import Any

ANSWER = "ANSWER "


class Context:
    """The part of Lambda's context that handlers use."""

    log_stream_name = "2026/02/01/[1]stream"

    def __init__(self, remaining_ms: int) -> None:
        self._ends_at = time.monotonic() + remaining_ms / 1000

    def get_remaining_time_in_millis(self) -> int:
        """Return what is left of this invocation."""
        return max(0, int((self._ends_at - time.monotonic()) * 1000))


def invoke(line: str) -> dict[str, Any]:
    """Carry out one invocation and describe what came of it."""
    from shared.errors import DarkroomError

    handler = import_module(sys.argv[1]).handler
    call = json.loads(line)
    answer: dict[str, Any] = {}
    try:
        answer["result"] = handler(call["event"], Context(call["remaining_ms"]))
    except DarkroomError as error:
        answer["error"] = type(error).__name__
    answer["timer"] = signal.getitimer(signal.ITIMER_REAL)[0]
    answer["modules"] = sorted({name.partition(".")[0] for name in sys.modules})
    return answer


def main() -> None:
    """Serve until standard input ends."""
    for line in sys.stdin:
        sys.stdout.write(f"{ANSWER}{json.dumps(invoke(line))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
