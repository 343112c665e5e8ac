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
from collections.abc import Mapping
from dataclasses import dataclass, field

DAY_SECONDS = 86_400.0

_TAG = re.compile(r"\[\[([a-z-]+)(?::([^\[\]]*))?\]\]")
_NUMBER = re.compile(r"[+-]?[0-9]{1,12}(?:\.[0-9]{1,12})?")


@dataclass(frozen=True, slots=True)
class ScriptTag:
    """One kind of tag, for the mock, and for docs and clients that list them.

    Attributes:
        default: The number meant where none is given; infinity means for ever, or always.
        most: The largest number; the least is 0.
        unit: What the number counts; empty where the tag takes none.
    """

    name: str
    meaning: str
    default: float = 1
    most: float = 1
    unit: str = ""

    @property
    def example(self) -> str:
        """The tag as it may stand in a prompt."""
        is_bare = not self.unit or self.default >= DAY_SECONDS
        return f"[[{self.name}]]" if is_bare else f"[[{self.name}:{self.default:g}]]"


SCRIPTS: tuple[ScriptTag, ...] = (
    ScriptTag("fail", "Provider unavailable, after step 2", 1, 1000, "attempts"),
    ScriptTag("rate-limit", "Attempt 1 is rate limited, after step 2", 1, DAY_SECONDS, "seconds"),
    ScriptTag("reject", "Prompt rejected, before step 1"),
    ScriptTag("hang", "Sleeps in Python, after step 1", math.inf, DAY_SECONDS, "seconds"),
    ScriptTag("block", "Blocks in C, after step 1", DAY_SECONDS, DAY_SECONDS, "seconds"),
    ScriptTag("crash", "Kills its own process, after step 2", math.inf, 1000, "attempts"),
    ScriptTag("slow", "Takes longer, spread over the steps", 5, DAY_SECONDS, "seconds"),
    ScriptTag("short", "The last images never come", 1, 1000, "images"),
    ScriptTag("preview", "Shows a preview of each picture, with steps 1 to 3"),
)

_TAGS_BY_NAME = {tag.name: tag for tag in SCRIPTS}


@dataclass(frozen=True, slots=True)
class Script:
    """What the tags of one prompt ask for.

    Attributes:
        prompt: The prompt without its tags.
        numbers: The number of each tag that is there, by its name.
    """

    prompt: str
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __contains__(self, tag: str) -> bool:
        return tag in self.numbers

    def number(self, tag: str) -> float:
        """Return the number of a tag; 0 if the tag is absent."""
        return self.numbers.get(tag, 0.0)


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
    return Script(" ".join(text.split()), numbers) if numbers else Script(prompt)


def _read_number(tag: ScriptTag, text: str | None) -> float:
    if text is None or _NUMBER.fullmatch(text) is None:
        return tag.default
    number = min(max(float(text), 0.0), tag.most)
    return number if tag.unit == "seconds" else math.floor(number)
