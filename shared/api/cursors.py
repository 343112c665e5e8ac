"""Where a page of a list ended: the time and the id of its last item, newest first."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import Query

PAGE_MAX = 100
"""Items of a page."""

CURSOR = "^[0-9a-f]{1,14}-[0-9a-f]{32}$"
"""When the last item of a page was created, in microseconds since 1970, and its id."""

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)

Cursor = Annotated[
    str | None, Query(pattern=CURSOR, description="The `next_cursor` of the page before.")
]


def write_cursor(created_at: datetime, item_id: UUID) -> str:
    """Return the cursor of the page after this item."""
    return f"{(created_at - _EPOCH) // _MICROSECOND:x}-{item_id.hex}"


def read_cursor(cursor: str | None) -> tuple[datetime, UUID] | None:
    """Return the time and the id of the last item before a page; None for the first page."""
    if cursor is None:
        return None
    microseconds, _, item_id = cursor.partition("-")
    return _EPOCH + int(microseconds, 16) * _MICROSECOND, UUID(item_id)
