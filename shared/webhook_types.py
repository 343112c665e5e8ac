"""What webhooks may be about, and what their addresses look like. Used wherever they are named."""

from typing import Annotated, Literal, get_args

from pydantic import Field, StringConstraints
from typing_extensions import TypeAliasType

URL_MAX_CHARS = 2048

# Named, so that the OpenAPI document and generated clients have one type.
WebhookEvent = TypeAliasType(
    "WebhookEvent",
    Literal[
        "generation.completed",
        "generation.failed",
        "generation.retrying",
        "generation.started",
    ],
)

EVENTS: tuple[WebhookEvent, ...] = get_args(WebhookEvent.__value__)

ENDINGS: tuple[WebhookEvent, ...] = ("generation.completed", "generation.failed")
"""The events of a webhook that names none."""

WebhookUrl = Annotated[
    str,
    StringConstraints(
        max_length=URL_MAX_CHARS, pattern=r"^https?://[A-Za-z0-9_.:\[\]-]{1,255}([/?][!\"$-~]*)?$"
    ),
]
"""Without a user or a fragment, which no server would see."""

WebhookEvents = Annotated[list[WebhookEvent], Field(min_length=1, max_length=len(EVENTS))]
