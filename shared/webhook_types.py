"""What webhooks may be about, and what their addresses look like. Used wherever they are named."""

from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints
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

_HOST = r"([A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?"


def _check_address(url: str) -> str:
    try:
        # Looks at the number of the port, and at what stands in brackets.
        _ = urlsplit(url).port
    except ValueError as error:
        raise ValueError(f"must be the address of a server: {error}") from None
    return url


WebhookUrl = Annotated[
    str,
    StringConstraints(max_length=URL_MAX_CHARS, pattern=rf"^https?://{_HOST}([/?][!\"$-~]*)?$"),
    AfterValidator(_check_address),
]
"""Without a user or a fragment, which no server would see."""

WebhookEvents = Annotated[list[WebhookEvent], Field(min_length=1, max_length=len(EVENTS))]
