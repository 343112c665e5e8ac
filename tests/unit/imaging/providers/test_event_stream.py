"""Events as servers send them."""

import pytest

from shared.imaging.providers.event_stream import is_event_stream, read_events

TEXT = (
    "\ufeff: hello\r\n\r\nevent: a\r\ndata: 1\r\ndata:2\r\n\r\n"
    "event: b\n\ndata\n\nid: 7\nevent: c\ndata: 3\n\ndata: 4"
)
EVENTS = [("a", "1\n2"), ("", ""), ("c", "3"), ("", "4")]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_the_same_however_they_are_cut(size: int) -> None:
    """Also between the bytes of a line end; the last one needs no blank line."""
    data = TEXT.encode()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert list(read_events(pieces)) == EVENTS


def test_old_line_ends_are_line_ends() -> None:
    """As the standard says."""
    assert list(read_events([b"event: a\rdata: 1\r\rdata: 2\r\r"])) == [("a", "1"), ("", "2")]


@pytest.mark.parametrize(
    ("start", "media_type", "expected"),
    [
        (b"data: {", "application/json", True),
        (b": ping", "", True),
        (b"", "text/event-stream", True),
        (b'{"data"', "text/event-stream", False),
        (b"[1]", "text/event-stream", False),
        (b"<html>", "text/html", False),
    ],
)
def test_the_body_decides_before_its_type(start: bytes, media_type: str, expected: bool) -> None:
    """Proxies and servers write the wrong one."""
    assert is_event_stream(start, media_type) is expected
