"""Scripts: tags in a prompt that tell the mock provider how to behave.

`[[name]]` or `[[name:number]]`, in small letters without blanks, anywhere in the prompt; several
combine. The mock provider obeys them only where the setting `MOCK_SCRIPTS` allows; elsewhere,
and when the name is unknown, a tag is plain text. Of two tags of one name the last one counts.

- `[[fail:k]]`: attempts 1 to k find the provider unavailable, after step 2. Default 1.
- `[[rate-limit:s]]`: attempt 1 is told to come back in s seconds, after step 2. Default 1.
- `[[reject]]`: the prompt is rejected, before step 1.
- `[[hang:s]]`: after step 1, sleeps s seconds in Python and heeds signals alone. Default: for ever.
- `[[block:s]]`: after step 1, blocks s seconds in C, where no signal reaches Python. Default and
  bound: one day.
- `[[crash:k]]`: attempts 1 to k kill their own process, after step 2. Default: every attempt.
- `[[slow:s]]`: takes s seconds longer, spread over the steps. Default 5.
- `[[short:k]]`: the last k of the images asked for never come. Default 1.
- `[[preview]]`: each picture is shown in the making, with steps 1 to 3.

Seconds may be decimal; other numbers are rounded down. A number outside the range of its script
becomes the nearest bound, and one that is not a plain decimal number becomes the default.
"""

import math
import re
from dataclasses import dataclass

DAY_SECONDS = 86_400.0

_TAG = re.compile(r"\[\[([a-z-]+)(?::([^\[\]]*))?\]\]")
_NUMBER = re.compile(r"[+-]?[0-9]{1,12}(?:\.[0-9]{1,12})?")


@dataclass(frozen=True, slots=True)
class ScriptTag:
    """One kind of tag, for docs and clients that list them.

    Attributes:
        default: The number meant where none is given; infinity means for ever, or always.
        most: The largest number; the least is 0.
        unit: What the number counts; empty where the tag takes none.
    """

    name: str
    meaning: str
    default: float
    most: float
    unit: str

    @property
    def example(self) -> str:
        """The tag as it may stand in a prompt."""
        is_bare = not self.unit or self.default >= DAY_SECONDS
        return f"[[{self.name}]]" if is_bare else f"[[{self.name}:{self.default:g}]]"


SCRIPTS: tuple[ScriptTag, ...] = (
    ScriptTag("fail", "Provider unavailable, after step 2", 1, 1000, "attempts"),
    ScriptTag("rate-limit", "Attempt 1 is rate limited, after step 2", 1, DAY_SECONDS, "seconds"),
    ScriptTag("reject", "Prompt rejected, before step 1", 1, 1, ""),
    ScriptTag("hang", "Sleeps in Python, after step 1", math.inf, DAY_SECONDS, "seconds"),
    ScriptTag("block", "Blocks in C, after step 1", DAY_SECONDS, DAY_SECONDS, "seconds"),
    ScriptTag("crash", "Kills its own process, after step 2", math.inf, 1000, "attempts"),
    ScriptTag("slow", "Takes longer, spread over the steps", 5, DAY_SECONDS, "seconds"),
    ScriptTag("short", "The last images never come", 1, 1000, "images"),
    ScriptTag("preview", "Shows each picture in the making, with steps 1 to 3", 1, 1, ""),
)

_TAGS_BY_NAME = {tag.name: tag for tag in SCRIPTS}


@dataclass(frozen=True, slots=True)
class Script:
    """What the tags of one prompt ask for.

    Attributes:
        prompt: The prompt without its tags.
        failing_attempts: Attempts up to this one fail.
        rate_limit_seconds: The wait demanded of attempt 1; None means no rate limit.
        crashing_attempts: Attempts up to this one kill their process; may be infinite.
        missing_images: How many of the images asked for never come.
    """

    prompt: str
    failing_attempts: float = 0
    rate_limit_seconds: float | None = None
    rejects_prompt: bool = False
    hang_seconds: float = 0
    block_seconds: float = 0
    crashing_attempts: float = 0
    slow_seconds: float = 0
    missing_images: int = 0
    shows_previews: bool = False


def parse_script(prompt: str) -> Script:
    """Return the script that a prompt's tags make up; tags of unknown name stay in the prompt."""
    numbers: dict[str, float] = {}

    def take(match: re.Match[str]) -> str:
        tag = _TAGS_BY_NAME.get(match.group(1))
        if tag is None:
            return match.group()
        numbers[tag.name] = _read_number(tag, match.group(2))
        return " "

    text = _TAG.sub(take, prompt)
    return Script(
        prompt=" ".join(text.split()) if numbers else prompt,
        failing_attempts=numbers.get("fail", 0),
        rate_limit_seconds=numbers.get("rate-limit"),
        rejects_prompt="reject" in numbers,
        hang_seconds=numbers.get("hang", 0),
        block_seconds=numbers.get("block", 0),
        crashing_attempts=numbers.get("crash", 0),
        slow_seconds=numbers.get("slow", 0),
        missing_images=int(numbers.get("short", 0)),
        shows_previews="preview" in numbers,
    )


def _read_number(tag: ScriptTag, text: str | None) -> float:
    if text is None or _NUMBER.fullmatch(text) is None:
        return tag.default
    number = min(max(float(text), 0.0), tag.most)
    return number if tag.unit == "seconds" else math.floor(number)
