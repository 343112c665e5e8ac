"""All that the rules look at: settings, Celery's options, servers, versions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cli.doctor.servers import PostgresFacts, QueueFacts, RedisFacts
from shared.settings import Settings

REFUSED = "the settings are refused"


@dataclass(frozen=True)
class Facts:
    """What is known. A text stands for a fact that is not known, and says why.

    Attributes:
        settings: The settings of this environment.
        celery: Celery's effective options, its queues and the task of a job.
        versions: The running versions of Darkroom, Python and the packages that matter, and the
            revision of the schema that this code needs.
    """

    settings: Settings | str
    celery: Mapping[str, Any] | str = REFUSED
    postgres: PostgresFacts | str = REFUSED
    redis: RedisFacts | str = REFUSED
    queue: QueueFacts | str = REFUSED
    versions: Mapping[str, str] = field(default_factory=dict)
