"""AWS Lambda entry: the sweep, on a schedule. Handler `functions.reaper.handler`."""

from dataclasses import asdict
from typing import Any

from functions.container import build_container

container = build_container()


def handler(_event: Any, _context: Any) -> dict[str, int]:
    """Finish what others left undone; answer with what was done.

    Raises:
        ServiceUnavailable: PostgreSQL cannot be reached; the next run sees to it.
    """
    return asdict(container.services.sweep())
