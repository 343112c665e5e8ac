"""The scripted scenarios: what is asked, what is done meanwhile, and how it must end.

The prompts' tags (`shared.imaging.providers.mock_scripts`) and the limits of `devkit.parity.play`
make each of them end within seconds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from shared.errors import ConfigurationError
from shared.status import JobStatus

SIZE = "256x256"
_PROMPT = "Ein Hocker, „Eiche“ 椅子"
_SEED = 7
"""A seed that is drawn at random would make different images by nature."""


class Action(Enum):
    """What is done to a job besides submitting it."""

    NONE = auto()
    CANCEL_QUEUED = auto()
    CANCEL_RUNNING = auto()
    WRITE_ROW = auto()
    DISPATCH_WHILE_RUNNING = auto()
    DISPATCH_AFTER_END = auto()
    CANCEL_BETWEEN_ATTEMPTS = auto()
    STAY_PAUSED = auto()
    LOSE_ENVELOPE = auto()
    EMPTY_REDIS_QUEUED = auto()
    EMPTY_REDIS_RUNNING = auto()
    EMPTY_REDIS_BETWEEN_ATTEMPTS = auto()
    REVOKE_QUEUED = auto()


@dataclass(frozen=True, slots=True)
class Expected:
    """How a scenario must end in either runtime.

    Attributes:
        code: Of the row's error; None for a completed job.
        attempts: How many lines the ledger has.
        images: How many rows of images there are.
        missing: How many images the result says are missing.
        ahead: How many jobs of the backlog may be released before its last attempt; None: any.
    """

    code: str | None = None
    attempts: int = 1
    images: int = 0
    missing: int = 0
    ahead: int | None = None

    @property
    def status(self) -> JobStatus:
        """The status that the row ends with."""
        return JobStatus.FAILED if self.code else JobStatus.COMPLETED


@dataclass(frozen=True, slots=True)
class Backlog:
    """Plain jobs that wait with the job of a scenario: all are submitted while nothing may start.

    Attributes:
        before: How many are submitted before it.
        after: How many are submitted after it.
        workspace_id: Whose they are.
        is_serial: Whether the job's workspace runs one at a time, so that their order is compared.
        is_budget_spent: Whether the job's workspace has spent more than it may.
    """

    before: int = 0
    after: int = 0
    workspace_id: str = "default"
    is_serial: bool = True
    is_budget_spent: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """One job, from its request to its end.

    Attributes:
        tag: Directs the mock provider.
        n: How many images are asked for.
        fields: More of the request.
        backlog: What waits with it; None if it may start at once.
        shows_pictures: Whether it is based on two pictures, and a mask of the first.
    """

    name: str
    title: str
    tag: str
    expected: Expected
    action: Action = Action.NONE
    n: int = 1
    fields: Mapping[str, Any] = field(default_factory=dict)
    backlog: Backlog | None = None
    shows_pictures: bool = False

    @property
    def request(self) -> dict[str, Any]:
        """The fields of a `GenerationRequest`; with `Action.WRITE_ROW`, the row's params."""
        prompt = f"{_PROMPT} [[{self.tag}]]" if self.tag else _PROMPT
        return {"prompt": prompt, "size": SIZE, "seed": _SEED, "n": self.n, **self.fields}


_DONE = Expected(images=1)
_SECOND_TRY = Expected(attempts=2, images=1)
_THIRD_TRY = Expected(attempts=3, images=1)
_SOFT_LIMIT = Expected("soft_time_limit")
_FORM = {"output_format": "webp", "background": "transparent", "quality": "high"}
_CHOSEN = {
    "model": "mock-mini",
    "style": "dramatic",
    "size": "512x512",
    "seed": 2**31 - 1,
    "metadata": {"order": "A-17"},
}

SCENARIOS = (
    Scenario("plain", "A job completes", "", _DONE),
    Scenario("several-images", "Three images", "", Expected(images=3), n=3),
    Scenario("chosen-look", "Every option is chosen", "", Expected(images=2), n=2, fields=_CHOSEN),
    Scenario("chosen-form", "A format and a background are chosen", "", _DONE, fields=_FORM),
    Scenario("several-pictures", "Two pictures and a mask", "", _DONE, shows_pictures=True),
    Scenario("fails-once", "The provider is unavailable once", "fail:1", _SECOND_TRY),
    Scenario("fails-twice", "The provider is unavailable twice", "fail:2", _THIRD_TRY),
    Scenario(
        "retries-exhausted",
        "The provider stays unavailable",
        "fail:9",
        Expected("provider_unavailable", 3),
    ),
    Scenario("rate-limited", "The provider asks for a retry in 1 s", "rate-limit:1", _SECOND_TRY),
    Scenario("rejected", "The prompt is rejected", "reject", Expected("prompt_rejected")),
    Scenario("account-used-up", "The account is used up", "quota", Expected("quota_exceeded")),
    Scenario(
        "next-model",
        "Its first model cannot be paid for, its second makes the image",
        "quota:1",
        _SECOND_TRY,
        fields={"models": ["mock-mini", "mock-1"]},
    ),
    Scenario(
        "withheld", "The image is withheld", "output-rejected", Expected("output_rejected", 3)
    ),
    Scenario(
        "charge-in-doubt", "A call may be billed", "charge-unknown", Expected("charge_unknown")
    ),
    Scenario("store-down", "The image store is down once", "storage:1", _SECOND_TRY),
    Scenario("soft-limit-cooperative", "The deadline passes between calls", "slow:60", _SOFT_LIMIT),
    Scenario("soft-limit-python", "The soft limit strikes in Python code", "hang", _SOFT_LIMIT),
    Scenario("soft-limit-c", "The soft limit strikes in a C call", "block:3.4", _SOFT_LIMIT),
    Scenario("hard-limit", "A C call outlasts the hard limit", "block", Expected("time_limit")),
    Scenario("worker-killed", "The worker is killed once", "crash:1", _SECOND_TRY),
    Scenario("poison", "The job kills every worker", "crash", Expected("worker_lost", 3)),
    Scenario(
        "one-image-short", "One of two images never comes", "short:1", Expected(None, 3, 1, 1), n=2
    ),
    Scenario(
        "all-images-short", "No image ever comes", "short:2", Expected("images_missing", 3), n=2
    ),
    Scenario(
        "cancelled-queued",
        "Cancelled while it waits",
        "",
        Expected("cancelled", 0),
        Action.CANCEL_QUEUED,
    ),
    Scenario(
        "cancelled-running",
        "Cancelled while it runs",
        "hang",
        Expected("cancelled"),
        Action.CANCEL_RUNNING,
    ),
    Scenario(
        "foreign-row",
        "A foreign row has a size that does not exist",
        "",
        Expected("invalid_request"),
        Action.WRITE_ROW,
        fields={"size": "7x7"},
    ),
    Scenario(
        "delivered-while-running",
        "Delivered again while it runs",
        "slow:1",
        _DONE,
        Action.DISPATCH_WHILE_RUNNING,
    ),
    Scenario(
        "delivered-after-end",
        "Delivered twice more after its end",
        "",
        _DONE,
        Action.DISPATCH_AFTER_END,
    ),
    Scenario(
        "cancelled-between",
        "Cancelled while it waits for another attempt",
        "rate-limit:60",
        Expected("cancelled"),
        Action.CANCEL_BETWEEN_ATTEMPTS,
    ),
    Scenario("paused", "The provider is paused meanwhile", "", _DONE, backlog=Backlog()),
    Scenario(
        "budget-spent",
        "The budget is used up before its call",
        "",
        Expected("budget_exceeded"),
        backlog=Backlog(is_budget_spent=True),
    ),
    Scenario(
        "late",
        "It cannot start in time",
        "",
        Expected("cancelled", 0),
        Action.STAY_PAUSED,
        fields={"start_within_seconds": 1},
        backlog=Backlog(),
    ),
    Scenario(
        "by-age",
        "Two wait before it, two behind it",
        "",
        Expected(images=1, ahead=2),
        backlog=Backlog(before=2, after=2),
    ),
    Scenario(
        "high-priority",
        "Four wait before it, but its priority is high",
        "",
        Expected(images=1, ahead=0),
        fields={"priority": "high"},
        backlog=Backlog(before=4),
    ),
    Scenario(
        "low-priority",
        "Four wait behind it, but its priority is low",
        "",
        Expected(images=1, ahead=4),
        fields={"priority": "low"},
        backlog=Backlog(after=4),
    ),
    Scenario(
        "retry-first",
        "Its second attempt comes before five that wait",
        "fail:1",
        Expected(attempts=2, images=1, ahead=0),
        backlog=Backlog(after=5),
    ),
    Scenario(
        "others-meanwhile",
        "Three run while it waits for its second attempt",
        "rate-limit:2",
        Expected(attempts=2, images=1, ahead=3),
        backlog=Backlog(after=3, is_serial=False),
    ),
    Scenario(
        "provider-busy",
        "The provider asks for a pause of 2 s, and three wait with it",
        "busy:2",
        Expected(attempts=2, images=1, ahead=0),
        backlog=Backlog(after=3),
    ),
    Scenario(
        "fair-share",
        "Eight of another workspace wait before it",
        "",
        Expected(images=1, ahead=4),
        backlog=Backlog(before=8, workspace_id="neighbour", is_serial=False),
    ),
    Scenario("envelope-lost", "Its envelope is lost", "", _DONE, Action.LOSE_ENVELOPE),
    Scenario(
        "emptied-queued",
        "Redis is emptied while it waits with three others",
        "",
        _DONE,
        Action.EMPTY_REDIS_QUEUED,
        backlog=Backlog(after=3),
    ),
    Scenario(
        "emptied-running",
        "Redis is emptied while it runs",
        "slow:2",
        _DONE,
        Action.EMPTY_REDIS_RUNNING,
    ),
    Scenario(
        "emptied-between",
        "Redis is emptied while it waits for another attempt",
        "rate-limit:1.5",
        _SECOND_TRY,
        Action.EMPTY_REDIS_BETWEEN_ATTEMPTS,
    ),
    # By Celery's own command where there is one; Lambda has none, and its operator cancels. A job
    # that runs is no scenario: the command takes longer to start than the limits here allow.
    Scenario(
        "revoked-queued",
        "Revoked by an operator while it waits",
        "",
        Expected("cancelled", 0),
        Action.REVOKE_QUEUED,
        backlog=Backlog(),
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
