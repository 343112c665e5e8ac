"""The style presets a request may name; read by the request, the mock provider and the API."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

StyleId = Literal["studio-white", "lifestyle", "flat-lay", "outdoor", "minimal", "dramatic"]

DEFAULT_STYLE: StyleId = "studio-white"


@dataclass(frozen=True, slots=True)
class Style:
    """What a person choosing a style reads."""

    title: str
    description: str


STYLES: Mapping[str, Style] = MappingProxyType(
    {
        "studio-white": Style("Studio white", "Seamless white backdrop, soft even light."),
        "lifestyle": Style("Lifestyle", "On a wooden table in a warm, sunlit room."),
        "flat-lay": Style("Flat lay", "Seen from above among a few props, even light."),
        "outdoor": Style("Outdoor", "On a stone in a landscape, in daylight."),
        "minimal": Style("Minimal", "On a plinth before plain pastel shapes."),
        "dramatic": Style("Dramatic", "Dark room, one spotlight, glossy floor."),
    }
)
