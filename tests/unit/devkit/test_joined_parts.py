"""Answers that the gateway joins from parts."""

import asyncio
from typing import Any

import pytest
from starlette.responses import Response

from devkit.lambda_host.joined_parts import whole_of


def part(first: int, body: bytes, size: int = 6, tag: str = '"a"') -> Response:
    """Return a part as a function answers with it."""
    content_range = f"bytes {first}-{first + len(body) - 1}/{size}"
    return Response(body, 206, {"Content-Range": content_range, "ETag": tag})


def sent(*parts: Response) -> tuple[int, dict[str, str], bytes] | None:
    """Return the status, headers and body that a client receives of these parts."""
    messages: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    async def send(message: Any) -> None:
        messages.append(message)

    async def serve() -> bool:
        left = iter(parts)

        async def get_part(_first: int) -> Response:
            return next(left)

        whole = await whole_of(get_part)
        if whole is not None:
            await whole({"type": "http"}, receive, send)
        return whole is not None

    if not asyncio.run(serve()):
        return None
    assert [message.get("more_body", False) for message in messages[1:]][-1] is False
    headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
    return messages[0]["status"], headers, b"".join(each["body"] for each in messages[1:])


def test_parts_become_one_answer() -> None:
    """With the length of all of it."""
    answer = sent(part(0, b"ab"), part(2, b"cd"), part(4, b"ef"))
    assert answer == (200, {"content-length": "6", "etag": '"a"'}, b"abcdef")
    assert sent(part(0, b"abcdef")) == answer


@pytest.mark.parametrize(
    "second",
    [
        part(2, b"cd", tag='"b"'),
        part(2, b"cd", size=9),
        part(3, b"cd"),
        part(2, b""),
        Response(b"cd", 200),
        Response(b"", 503),
    ],
    ids=["tag", "size", "place", "nothing", "no part", "failed"],
)
def test_an_answer_ends_early_without_its_next_part(second: Response) -> None:
    """Its client misses bytes of the length, as when a connection is lost."""
    answer = sent(part(0, b"ab"), second)
    assert answer is not None
    assert (answer[1]["content-length"], answer[2]) == ("6", b"ab")


@pytest.mark.parametrize(
    "first", [Response(b"abcdef"), Response(b"", 500), part(1, b"b")], ids=["whole", "failed", "on"]
)
def test_what_is_no_part_becomes_no_answer(first: Response) -> None:
    """The gateway keeps its own: that of a function which returned too much."""
    assert sent(first) is None
