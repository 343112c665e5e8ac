"""Scripts: tags in a prompt that make the mock provider misbehave.

A tag is `[[name]]` or `[[name:number]]`, in small letters without blanks, anywhere in the prompt;
`SCRIPTS` lists them. Several combine; of two with one name the last one counts. The mock obeys
them only where the setting MOCK_SCRIPTS allows it. Elsewhere a tag is plain text, and so is a tag
of unknown name everywhere.

Seconds may be decimal; other numbers are rounded down. A number outside the range of its script
becomes the nearest bound. Text that is not a plain decimal number becomes the default.
"""

import math
import re
from dataclasses import dataclass

DAY_SECONDS = 86_400.0

_TAG = re.compile(r"\[\[([a-z-]+)(?::([^\[\]]*))?\]\]")
_NUMBER = re.compile(r"[+-]?[0-9]{1,12}(?:\.[0-9]{1,12})?")


@dataclass(frozen=True, slots=True)
class ScriptTag:
    """One kind of tag, for the mock, and for docs and clients that list them.

    Attributes:
        code: Of the error that its attempts end with; empty for a tag that only takes time.
        default: The number meant where none is given; infinity means for ever, or always.
        most: The largest number; the least is 0.
        unit: What the number counts; empty where the tag takes none.
    """

    name: str
    meaning: str
    default: float = 1
    most: float = 1
    unit: str = ""
    code: str = ""

    @property
    def example(self) -> str:
        """The tag as it may stand in a prompt."""
        is_bare = not self.unit or self.default >= DAY_SECONDS
        return f"[[{self.name}]]" if is_bare else f"[[{self.name}:{self.default:g}]]"


def _error(name: str, meaning: str, code: str) -> ScriptTag:
    return ScriptTag(name, f"{meaning}, after step 2", math.inf, 1000, "attempts", code)


SCRIPTS: tuple[ScriptTag, ...] = (
    ScriptTag(
        "fail", "Provider unavailable, after step 2", 1, 1000, "attempts", "provider_unavailable"
    ),
    ScriptTag(
        "rate-limit",
        "Attempt 1 is rate limited, after step 2",
        *(1, DAY_SECONDS, "seconds", "rate_limited"),
    ),
    ScriptTag(
        "busy",
        "Attempt 1 is rate limited, and other jobs wait, too, after step 2",
        *(1, DAY_SECONDS, "seconds", "rate_limited"),
    ),
    ScriptTag("reject", "Prompt rejected, before step 1", code="prompt_rejected"),
    ScriptTag(
        "hang",
        "Sleeps in Python, after step 1",
        *(math.inf, DAY_SECONDS, "seconds", "soft_time_limit"),
    ),
    ScriptTag(
        "block", "Blocks in C, after step 1", DAY_SECONDS, DAY_SECONDS, "seconds", "time_limit"
    ),
    ScriptTag(
        "crash",
        "Kills its own process, after step 2",
        *(math.inf, 1000, "attempts", "worker_lost"),
    ),
    ScriptTag("slow", "Takes longer, spread over the steps", 5, DAY_SECONDS, "seconds"),
    ScriptTag("short", "The last images never come", 1, 1000, "images", "images_missing"),
    ScriptTag("preview", "Shows a preview of each picture, with steps 1 to 3"),
    _error("rate-limited", "Rate limited", "rate_limited"),
    _error("overloaded", "Provider overloaded", "provider_overloaded"),
    _error("timeout", "Provider too slow", "provider_timeout"),
    _error("quota", "Account used up", "quota_exceeded"),
    _error("bad-key", "API key refused", "provider_authentication"),
    _error("bad-request", "Request not accepted", "request_rejected"),
    _error("output-rejected", "Images withheld", "output_rejected"),
    _error("empty", "No image in the response", "empty_result"),
    _error("corrupt", "Image cut short", "corrupt_image"),
    _error("unusable", "Image that cannot be used", "unusable_image"),
    _error("charge-unknown", "As if a call may have been billed", "charge_unknown"),
    _error("cost-limit", "As if another call cost too much", "cost_limit"),
    _error("budget", "As if the budget were used up", "budget_exceeded"),
    _error("storage", "Image store unavailable", "storage_unavailable"),
    _error("database", "Server unavailable", "service_unavailable"),
    _error("invalid", "As if the row made no sense", "invalid_request"),
    _error("internal", "Unexpected error", "internal"),
    _error("cancelled", "As if cancelled", "cancelled"),
)

_TAGS_BY_NAME = {tag.name: tag for tag in SCRIPTS}


def parse_script(prompt: str) -> tuple[str, dict[str, float]]:
    """Return a prompt without its tags, and the number of each tag that it has, by name."""
    numbers: dict[str, float] = {}

    def take(match: re.Match[str]) -> str:
        tag = _TAGS_BY_NAME.get(match.group(1))
        if tag is None:
            return match.group()
        numbers[tag.name] = _read_number(tag, match.group(2))
        return " "

    text = _TAG.sub(take, prompt)
    return (" ".join(text.split()) if numbers else prompt), numbers


def _read_number(tag: ScriptTag, text: str | None) -> float:
    if text is None or _NUMBER.fullmatch(text) is None:
        return tag.default
    number = min(max(float(text), 0.0), tag.most)
    return number if tag.unit == "seconds" else math.floor(number)
