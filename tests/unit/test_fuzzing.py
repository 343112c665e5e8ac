"""Whatever comes in is read or refused: decoder, events, answers, forms and texts under fuzzing.

Short here; `make fuzz` goes on for FUZZ_SECONDS with each.
"""

import functools
import json
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.api.openai.multipart import read_form
from shared.deadline import Deadline
from shared.errors import MESSAGE_MAX_CHARS, AttemptError, InvalidRequest, one_line
from shared.events.event import parse_entries, parse_event
from shared.imaging.containers import NotAPicture
from shared.imaging.pictures import clean, measure
from shared.imaging.providers.answers import error_in, parse, pictures_in, refusal_in, tokens_in
from shared.imaging.providers.bounded_body import UnreadableBody, bounded_body
from shared.imaging.providers.event_stream import read_events
from shared.imaging.providers.sent_pictures import decode
from shared.terminal import printable, printable_json

UPLOADS = sorted((Path(__file__).parents[1] / "cases/uploads").glob("*.*"))
PICTURES = [path.read_bytes() for path in UPLOADS if path.suffix != ".icc"]

FUZZ_SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
"""How long `make fuzz` goes on with each test."""

examples = settings(
    max_examples=1_000 if FUZZ_SECONDS else 60,
    deadline=None,
    derandomize=not FUZZ_SECONDS,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def fuzzed(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test with examples: with the same few, or for FUZZ_SECONDS with new ones."""
    run = examples(test)

    @functools.wraps(run)
    def repeated() -> None:
        until = time.monotonic() + FUZZ_SECONDS
        run()
        while time.monotonic() < until:
            run()

    # pytest must not take the arguments of the test for fixtures.
    del repeated.__wrapped__
    return repeated


words = st.sampled_from(
    ["data", "error", "errors", "b64_json", "url", "message", "code", "type", "detail", "loc",
     "usage", "input_tokens", "status", "progress", "images", "output", "moderation_details"]
)  # fmt: skip
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | words
    | st.sampled_from(["processing", "completed", "data:,x", "https://h/a.png", "AAAA"])
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(words | st.text(), inner, max_size=5)
    ),
    max_leaves=25,
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Give a real file with some bytes changed, left out or put in."""
    data = bytearray(draw(st.sampled_from(PICTURES)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.integers(0, 8))
        data[at : at + length] = draw(st.binary(max_size=8))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it repairs
@fuzzed
@given(data=damaged() | st.binary(max_size=200))
def test_a_picture_is_decoded_or_refused(data: bytes) -> None:
    """What is kept decodes again."""
    for read in (measure, clean):
        try:
            found = read(data)
        except NotAPicture:
            continue
        again = measure(found.data)
        assert (again.width_px, again.height_px) == (found.width_px, found.height_px)


@fuzzed
@given(value=values, text=st.text(), entry_id=st.text())
def test_an_entry_of_a_stream_is_an_event_or_skipped(value: Any, text: str, entry_id: str) -> None:
    """One bad entry does not stop the reader."""
    event = {"status": "processing", "progress": value, "message": value}
    for data in (json.dumps(value), json.dumps(event), text):
        try:
            found = [parse_event(entry_id, data)]
        except ValueError:
            found = []
        assert parse_entries([(entry_id, {"event": data})]) == found


@pytest.mark.parametrize("data", ["[" * 100_000, '{"status":' * 100_000], ids=["lists", "objects"])
def test_an_event_that_is_nested_without_end_is_skipped(data: str) -> None:
    """Python's parser gives up with an error of its own."""
    assert parse_entries([("1-0", {"event": data})]) == []


@fuzzed
@given(value=values, body=st.binary())
def test_an_answer_is_pictures_an_error_or_nothing(value: Any, body: bytes) -> None:
    """Of any form, JSON or not."""
    for data in (json.dumps(value).encode(), body):
        read = parse(data)
        pictures_in(read)
        error_in(read)
        tokens_in(read, ("input_tokens",))
        said = refusal_in(read, data.decode("utf-8", "replace"))
        said.unknown_parameter(["size", "quality"])


def pieces_of(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Return the data in pieces."""
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


lines = st.lists(
    st.sampled_from([b"data: x", b"data:", b"event: y", b": c", b"", b"id", b"\xff", b"data:{}"])
)


@fuzzed
@given(lines=lines, end=st.sampled_from([b"\n", b"\r\n", b"\r"]), cuts=st.lists(st.integers(0, 99)))
def test_a_stream_is_the_same_however_it_is_cut(
    lines: list[bytes], end: bytes, cuts: list[int]
) -> None:
    """A line end, a character or an event may be cut anywhere."""
    data = end.join(lines)
    assert list(read_events(pieces_of(data, cuts))) == list(read_events([data]))


@fuzzed
@given(data=st.binary(), coding=st.sampled_from(["", "gzip", "deflate", "br", "x"]), text=st.text())
def test_a_body_is_decompressed_and_decoded_or_refused(data: bytes, coding: str, text: str) -> None:
    """With the errors that its readers expect."""
    with suppress(UnreadableBody):
        assert len(b"".join(bounded_body([data], coding, 1000, Deadline(60)))) <= 1000
    for base64 in (text, f"data:image/png;base64,{text}"):
        with suppress(AttemptError):
            decode(base64)


@fuzzed
@given(
    parts=st.lists(st.sampled_from([
        b"--b", b"\r\n", b"--b--", b'Content-Disposition: form-data; name="a"', b"\r\n\r\n",
        b"Content-Disposition: form-data; name*=utf-8''%ff", b"\xff\x00", b"name*0=x",
        b'; filename="',
    ])),
    kind=st.text() | st.sampled_from(["multipart/form-data; boundary=b", "x; boundary*=utf-8''b"]),
)  # fmt: skip
def test_a_form_is_read_or_refused(parts: list[bytes], kind: str) -> None:
    """Whatever its header and its parts are."""
    for content_type in (kind, "multipart/form-data; boundary=b"):
        with suppress(InvalidRequest):
            read_form(b"".join(parts), content_type)


@fuzzed
@given(text=st.text(st.characters()), value=values)
def test_any_text_becomes_a_line(text: str, value: Any) -> None:
    """For a row and for a terminal; JSON keeps its meaning."""
    line = one_line(text)
    assert len(line) <= MESSAGE_MAX_CHARS
    assert printable(printable(line)) == printable(line)
    shown = printable_json(json.dumps(value, ensure_ascii=False))
    assert json.dumps(json.loads(shown)) == json.dumps(value)
