"""What servers of the OpenAI Images API really stream, and what must come of each."""

import json
from typing import Any

from tests.support.foreign_answers import B, Row, always, good, picture
from tests.support.foreign_images_api import Replies, Reply


def events(*blocks: str, end: str = "\n\n") -> Replies:
    """Answer with a stream of events."""
    data = "".join(block + end for block in blocks).encode()
    return always(Reply(data, "text/event-stream"))


def event(kind: str = "", /, **fields: Any) -> str:
    """Return an event whose data says its type, if it has one."""
    name = f"event: {kind}\n" if kind else ""
    return f"{name}data: {json.dumps({'type': kind, **fields} if kind else fields)}"


PARTIAL, COMPLETED = "image_generation.partial_image", "image_generation.completed"
DONE = "data: [DONE]"
LAST = event(COMPLETED, b64_json=B)
ONCE = {"on_unknown_charge": "fail"}
REFUSED = {"code": "moderation_blocked", "message": "Not this one"}

STREAMS: dict[str, Row] = {
    "a whole answer": Row(always(good())),
    "a whole answer typed as a stream": Row(always(Reply(good().body, "text/event-stream"))),
    "a stream typed as JSON": Row(always(Reply(f"{LAST}\n\n".encode()))),
    "no type": Row(events(f"event: {COMPLETED}\ndata: {json.dumps({'b64_json': B})}")),
    "neither name nor type": Row(events(event(b64_json=B))),
    "completed with an address": Row(events(event(COMPLETED, url="/files/a.png"))),
    "completed with a data prefix": Row(
        events(event(COMPLETED, b64_json=f"data:image/png;base64,{B}"))
    ),
    "completed in a list": Row(events(event(COMPLETED, data=[{"b64_json": B}]))),
    "partial without an index": Row(events(event(PARTIAL, b64_json=B), LAST)),
    "partial without a picture": Row(
        events(event(PARTIAL, b64_json=None, partial_image_index=0), LAST)
    ),
    "partial of index 9": Row(
        events(
            event(PARTIAL, b64_json=B, partial_image_index=9),
            event(PARTIAL, b64_json=B, partial_image_index=0),
            LAST,
        )
    ),
    "partial that is no picture": Row(
        events(event(PARTIAL, b64_json="?", partial_image_index="one"), LAST)
    ),
    "pings": Row(
        events(
            'event: ping\ndata: {"ping": 1}',
            "data: ping",
            "data:",
            ": comment",
            'event: queue.position\ndata: {"position": 3}',
            "data: [1, 2]",
            "id: 7\nretry: 100",
            LAST,
        )
    ),
    "a chunk with a list": Row(events(event(created=1, data=[{"b64_json": B}]), DONE)),
    "a picture of an unknown event is no result": Row(
        events(event("progress", image=picture("PNG", (8, 8))), LAST)
    ),
    "partials only": Row(
        events(event(PARTIAL, b64_json=B, partial_image_index=0), DONE),
        *("charge_unknown", 1, "without a picture", "unknown"),
        request=ONCE,
    ),
    "partials and the end": Row(
        events(event(PARTIAL, b64_json=B, partial_image_index=0)),
        *("charge_unknown", 1, "without a picture", "unknown"),
        request=ONCE,
    ),
    "nothing, tried again": Row(
        events(": nothing"), "empty_result", 3, "without a picture", "unknown"
    ),
    "error event": Row(
        events(event("error", error=REFUSED)), "prompt_rejected", 1, "Not this one", "unknown"
    ),
    "error event that is flat": Row(
        events(event("error", **REFUSED)), "prompt_rejected", 1, "Not this one", "unknown"
    ),
    "error alone": Row(
        events(event(error=REFUSED)), "prompt_rejected", 1, "Not this one", "unknown"
    ),
    "failed event": Row(
        events(event("image_generation.failed", error=REFUSED)),
        *("prompt_rejected", 1, "Not this one", "unknown"),
    ),
    "error that may pass": Row(
        events(event("error", error={"code": "server_error", "message": "Oh"})),
        *("provider_unavailable", 3, "Oh", "unknown"),
    ),
    "line ends of Windows": Row(
        always(
            Reply(
                f"event: {COMPLETED}\r\ndata: {json.dumps({'b64_json': B})}\r\n\r\n".encode(),
                "text/event-stream",
            )
        )
    ),
    "the last line is cut": Row(always(Reply(f": hello\n\n{LAST}".encode(), "text/event-stream"))),
}
"""Answers to a request for a stream."""
