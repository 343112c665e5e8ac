"""What commands over the database share: the connection, and how rows are printed."""

import getpass
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from cli.output import say, say_json

if TYPE_CHECKING:
    from sqlalchemy import Engine

Row = Mapping[str, Any]


@contextmanager
def database(name: str) -> "Iterator[Engine]":
    """Give connections to the database of DATABASE_URL; `name` is shown in pg_stat_activity."""
    # Imported here, so that `--help` answers at once.
    from shared.database.session import create_unpooled_engine, refusals_named
    from shared.settings import load_database

    with refusals_named():
        database = load_database()
        url, schema = database.database_url, database.database_schema
        yield create_unpooled_engine(url, f"darkroom-{name}", schema)


@contextmanager
def audited(engine: "Engine", action: str, target: str, **details: Any) -> Iterator[None]:
    """Note in the audit what the body does, as done by the user of this machine."""
    from shared.access.audit import AuditStore

    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        user = str(os.getuid())
    who = f"cli {user}@{socket.gethostname()}"
    with AuditStore(engine).noted(who, action, target, **details):
        yield


def say_object(row: Row) -> None:
    """Print one row as JSON."""
    say_json(json.dumps(row, default=_as_json))


def say_items(rows: Sequence[Row], **more: Any) -> None:
    """Print rows as JSON, with what belongs to them."""
    say_object({"items": rows, **more})


def say_table(rows: Sequence[Row], columns: Mapping[str, str], missing: str = "-") -> None:
    """Print rows as a table.

    Args:
        rows: What is printed, one a line.
        columns: The head of each column, by the name of its value.
        missing: What stands for None.
    """
    lines = [list(columns.values())]
    lines += [[_shown(row[name], missing) for name in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numbers = [
        any(isinstance(row[name], int) and not isinstance(row[name], bool) for row in rows)
        for name in columns
    ]
    for line in lines:
        cells = (
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(line, widths, numbers, strict=True)
        )
        say("  ".join(cells).rstrip())


def say_rows(rows: Sequence[Row], columns: Mapping[str, str], *, is_json: bool) -> None:
    """Print rows for programs or for people."""
    if is_json:
        say_items(rows)
    else:
        say_table(rows, columns)


def moment(value: datetime) -> str:
    """Return a time as tables show it: the reader's own."""
    return f"{value.astimezone():%Y-%m-%d %H:%M:%S}"


def _shown(value: Any, missing: str) -> str:
    match value:
        case None:
            return missing
        case bool():
            return "yes" if value else "no"
        case datetime():
            return moment(value)
        case list():
            return ", ".join(map(str, value))
        case dict():
            return json.dumps(value, default=_as_json)
        case _:
            return str(value)


def _as_json(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"no JSON of a {type(value).__name__}")
