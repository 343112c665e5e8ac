"""The scripted scenarios: what is asked, what is done meanwhile, and how it must end.

The prompts' tags (`shared.imaging.providers.mock_scripts`) and the limits of
`devkit.parity.ground` make each of them end within seconds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from shared.errors import ConfigurationError
from shared.status import JobStatus

SEED = 7
SIZE = "256x256"


class Action(str, Enum):
    """What is done to a job besides submitting it."""

    NONE = "none"
    CANCEL_QUEUED = "cancel_queued"
    CANCEL_RUNNING = "cancel_running"
    WRITE_ROW = "write_row"
    DISPATCH_WHILE_RUNNING = "dispatch_while_running"
    DISPATCH_AFTER_END = "dispatch_after_end"


@dataclass(frozen=True, slots=True)
class Expected:
    """How a scenario must end, whatever runs it.

    Attributes:
        code: Of the row's error; None for a completed job.
        attempts: How many lines the ledger has.
        images: How many rows of images there are.
        missing: How many images the result says are missing.
    """

    status: JobStatus
    code: str | None = None
    attempts: int = 1
    images: int = 0
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One job, from its request to its end.

    Attributes:
        request: The fields of a `GenerationRequest`; with `Action.WRITE_ROW`, the row's params.
    """

    name: str
    title: str
    request: Mapping[str, Any]
    expected: Expected
    action: Action = Action.NONE


def _request(prompt: str, **fields: Any) -> dict[str, Any]:
    # A seed that is drawn at random would make different pictures by nature.
    return {"prompt": prompt, "size": SIZE, "seed": SEED, **fields}


def _completes(attempts: int = 1, images: int = 1, missing: int = 0) -> Expected:
    return Expected(JobStatus.COMPLETED, None, attempts, images, missing)


def _fails(code: str, attempts: int = 1) -> Expected:
    return Expected(JobStatus.FAILED, code, attempts)


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("plain", "A job completes", _request("A ceramic mug"), _completes()),
    Scenario(
        "several-images", "Three images", _request("A ceramic mug", n=3), _completes(images=3)
    ),
    Scenario(
        "chosen-look",
        "Style, size, seed and metadata are chosen",
        _request(
            "Ein Hocker, „Eiche“ 椅子",
            style="dramatic",
            size="512x512",
            seed=2**31 - 1,
            n=2,
            metadata={"order": "A-17"},
        ),
        _completes(images=2),
    ),
    Scenario(
        "fails-once",
        "The provider is away once",
        _request("A teapot [[fail:1]]"),
        _completes(attempts=2),
    ),
    Scenario(
        "fails-twice",
        "The provider is away twice",
        _request("A teapot [[fail:2]]"),
        _completes(attempts=3),
    ),
    Scenario(
        "retries-exhausted",
        "The provider stays away",
        _request("A teapot [[fail:9]]"),
        _fails("provider_unavailable", attempts=3),
    ),
    Scenario(
        "rate-limited",
        "The provider asks to come back in 1 s",
        _request("A lamp [[rate-limit:1]]"),
        _completes(attempts=2),
    ),
    Scenario(
        "rejected",
        "The prompt is rejected",
        _request("A lamp [[reject]]"),
        _fails("prompt_rejected"),
    ),
    Scenario(
        "soft-limit-cooperative",
        "The deadline passes between two calls",
        _request("A chair [[slow:60]]"),
        _fails("soft_time_limit"),
    ),
    Scenario(
        "soft-limit-python",
        "The soft limit strikes in Python code",
        _request("A chair [[hang]]"),
        _fails("soft_time_limit"),
    ),
    Scenario(
        "soft-limit-c",
        "The soft limit strikes in a C call",
        _request("A chair [[block:3.4]]"),
        _fails("soft_time_limit"),
    ),
    Scenario(
        "hard-limit",
        "A C call outlasts the hard limit",
        _request("A chair [[block]]"),
        _fails("time_limit"),
    ),
    Scenario(
        "worker-killed",
        "The worker is killed once",
        _request("A vase [[crash:1]]"),
        _completes(attempts=2),
    ),
    Scenario(
        "poison",
        "The job kills every worker",
        _request("A vase [[crash]]"),
        _fails("worker_lost", attempts=3),
    ),
    Scenario(
        "one-image-short",
        "One of two images never comes",
        _request("Two cups [[short:1]]", n=2),
        _completes(attempts=3, missing=1),
    ),
    Scenario(
        "all-images-short",
        "No image ever comes",
        _request("Two cups [[short:2]]", n=2),
        _fails("images_missing", attempts=3),
    ),
    Scenario(
        "cancelled-queued",
        "Cancelled while it waits",
        _request("A bowl"),
        _fails("cancelled", attempts=0),
        Action.CANCEL_QUEUED,
    ),
    Scenario(
        "cancelled-running",
        "Cancelled while it runs",
        _request("A bowl [[hang]]"),
        _fails("cancelled"),
        Action.CANCEL_RUNNING,
    ),
    Scenario(
        "foreign-row",
        "A foreign producer's row asks for a size that does not exist",
        {"prompt": "A bowl", "size": "7x7", "n": 1},
        _fails("invalid_request"),
        Action.WRITE_ROW,
    ),
    Scenario(
        "delivered-while-running",
        "Delivered again while it runs",
        _request("A jug [[slow:1]]"),
        _completes(),
        Action.DISPATCH_WHILE_RUNNING,
    ),
    Scenario(
        "delivered-after-end",
        "Delivered twice more after its end",
        _request("A jug"),
        _completes(),
        Action.DISPATCH_AFTER_END,
    ),
)


def select_scenarios(names: Iterable[str]) -> tuple[Scenario, ...]:
    """Return the scenarios of these names, in their own order; all of them if there are none.

    Raises:
        ConfigurationError: There is no scenario of that name.
    """
    wanted = set(names)
    unknown = wanted - {scenario.name for scenario in SCENARIOS}
    if unknown:
        known = ", ".join(scenario.name for scenario in SCENARIOS)
        raise ConfigurationError(f"no scenario {', '.join(sorted(unknown))}; there are {known}")
    return tuple(scenario for scenario in SCENARIOS if not wanted or scenario.name in wanted)
