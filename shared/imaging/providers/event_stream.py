"""Reads server-sent events as servers send them, not only as the standard wants them.

Lines may end in any way, and the last event may lack its blank line.
"""

import re
from collections.abc import Iterable, Iterator

_LINE_END = re.compile(rb"\r\n|\r|\n")


def is_event_stream(start: bytes, media_type: str) -> bool:
    """Return whether a body is a stream of events, by its first bytes, else by its type."""
    if start.startswith((b"data:", b"event:", b"id:", b"retry:", b":")):
        return True
    return media_type == "text/event-stream" and not start.startswith((b"{", b"["))


def read_events(pieces: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """Yield the name, which may be empty, and the data of each event that has data."""
    name, data = "", list[str]()
    for line in _lines(pieces):
        field, _, value = line.partition(":")
        if not line:
            if data:
                yield name, "\n".join(data)
            name, data = "", []
        elif field == "event":
            name = value.strip()
        elif field == "data":
            data.append(value.removeprefix(" "))
    if data:
        yield name, "\n".join(data)


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    rest = bytearray()
    for piece in pieces:
        rest += piece
        # A picture is one long line of many pieces, which is searched once.
        if b"\n" not in piece and b"\r" not in piece:
            continue
        # A line end may be cut between its two bytes.
        end = len(rest) - rest.endswith(b"\r")
        *lines, last = _LINE_END.split(rest[:end])
        rest = bytearray(last) + rest[end:]
        yield from (_text(line) for line in lines)
    yield from (_text(line) for line in _LINE_END.split(rest))


def _text(line: bytes | bytearray) -> str:
    return line.decode("utf-8", "replace").removeprefix("\ufeff")
