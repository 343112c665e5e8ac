"""What servers of the OpenAI Images API really answer, and what must come of each.

`calls` is how often a job may ask for its pictures: a picture that was paid for and can be read
is never bought again. The shapes are made anew in small. `tracker_answers` has more, and says in
which threads of public trackers they were seen; the others are from the protocol's own words.
"""

import gzip
import io
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from tests.support.foreign_images_api import GOOD, PROXY_HOST, Replies, Reply

_UPLOADS = Path(__file__).parents[1] / "cases" / "uploads"

B = b64encode(GOOD).decode()
LINES = "\n".join(B[at : at + 76] for at in range(0, len(B), 76))
HTML = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head>" + b"<p>nginx</p>" * 2500
EMPTY_ANSWER = Reply(b'{"created": 1, "data": []}')


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        replies: To the calls of the job, in order; the last one again and again.
        code: The error that the job fails with; None if it has all its pictures.
        calls: How often the pictures may be asked for.
        says: What the error's message holds.
        charge: What the ledger says of the last call.
        n: How many pictures the job asks for.
        missing: How many of them do not come.
        request: Further fields of the request.
        waits_seconds: The least wait between two calls.
    """

    replies: Replies
    code: str | None = None
    calls: int = 1
    says: str = ""
    charge: str = "charged"
    n: int = 1
    missing: int = 0
    request: Mapping[str, Any] | None = None
    waits_seconds: float = 0


def picture(kind: str, size: tuple[int, int] = (64, 48)) -> str:
    """Return a picture of a kind, in base64."""
    file = io.BytesIO()
    Image.new("RGB", size, (90, 60, 30)).save(file, kind)
    return b64encode(file.getvalue()).decode()


def always(*replies: Reply) -> Replies:
    """Reply so, whatever is asked."""
    return lambda _address, _body: list(replies)


def said(body: Any, status: int = 200, **headers: str) -> Reply:
    """Return a reply that is JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(json.dumps(body).encode(), status=status, headers=named)


def kept(*items: Mapping[str, Any]) -> Reply:
    """Return a whole answer with these pictures."""
    return said({"created": 1, "data": list(items)})


def good(**others: Any) -> Reply:
    """Return what the documentation of the API says."""
    return kept({"b64_json": B, **others})


def linked(path: str, host: str | None = None) -> Replies:
    """Answer with the address of a file of the server, under another host's name perhaps."""

    def replies(address: str, _body: Mapping[str, Any]) -> list[Reply]:
        port = address.partition(":")[2]
        place = address if host is None else f"{host}:{port}"
        return [kept({"url": f"http://{place}{path}" if path.startswith("/") else path})]

    return replies


def refusing(parameter: str, error: Any) -> Replies:
    """Refuse requests that have a parameter."""

    def replies(_address: str, body: Mapping[str, Any]) -> list[Reply]:
        return [said(error, 400) if parameter in body else good()]

    return replies


def unknown(name: str) -> dict[str, Any]:
    """Return OpenAI's error for a parameter that it does not know."""
    message = f"Unknown parameter: '{name}'."
    kind = "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": name, "code": "unknown_parameter"}}


def broken(replies: Replies, says: str = "picture") -> Row:
    """Return a row of a picture that was paid for and will never be readable."""
    return Row(replies, "unusable_image", says=says)


UNKNOWN_NAME = """Invalid JSON payload received. Unknown name "n": Cannot find field."""
CREDITS = {"error": {"message": "Insufficient credits", "code": 402}}
CUDA = {"data": [], "error": "CUDA out of memory"}
VALIDATION = {"detail": [{"loc": ["body", "prompt"], "msg": "is too long", "type": "too_long"}]}

WHOLE: dict[str, Row] = {
    "data prefix": Row(always(kept({"b64_json": f"data:image/png;base64,{B}"}))),
    "data prefix in lines": Row(always(kept({"b64_json": f"data:image/png;base64,\n{LINES}"}))),
    "base64 in lines": Row(always(kept({"b64_json": LINES}))),
    "base64 in lines of Windows": Row(always(kept({"b64_json": LINES.replace("\n", "\r\n")}))),
    "url-safe base64": Row(always(kept({"b64_json": urlsafe_b64encode(GOOD).decode()}))),
    "base64 without padding": Row(always(kept({"b64_json": B.rstrip("=")}))),
    "both forms": Row(always(good(url=None, revised_prompt=None))),
    "url is a data address": Row(always(kept({"url": f"data:image/png;base64,{B}"}))),
    "url is relative": Row(linked("/files/a.png")),
    "url is relative to the base": Row(always(kept({"url": "files/a.png"}))),
    "url without host": Row(always(kept({"url": "/files/a.png"}))),
    "url with a blank and an umlaut": Row(linked("/files/ä b.png")),
    "url with blanks around": Row(always(kept({"url": " /files/a.png\n"}))),
    "url in an object": Row(always(kept({"image_url": {"url": "/files/a.png"}}))),
    "file typed octet-stream": Row(linked("/typed/binary/octet-stream")),
    "file typed text": Row(linked("/typed/text/plain")),
    "file typed jpg": Row(linked("/typed/image/jpg")),
    "file without a type": Row(linked("/typed")),
    "file is compressed": Row(linked("/zipped.png")),
    "file for browsers": Row(linked("/for-browsers.png")),
    "file comes later": Row(linked("/later/1.png")),
    "file behind the proxy": Row(always(kept({"url": f"http://{PROXY_HOST}/a.png"}))),
    "file under another name": Row(linked("/files/a.png", host="localhost")),
    "url is a path on a disk": broken(always(kept({"url": "/mnt/out/a.png"})), "404"),
    "url is cut": broken(always(kept({"url": "http://[::1/x.png"})), "form"),
    "url with an impossible port": broken(always(kept({"url": "http://127.0.0.1:99999/"}))),
    "url with a long label": broken(always(kept({"url": f"http://{'a' * 70}.org/a.png"}))),
    "url of another scheme": broken(always(kept({"url": "file:///etc/passwd"})), "form"),
    "url of a private network": broken(
        always(kept({"url": "http://169.254.169.254/latest"})), "private network"
    ),
    "url is null": broken(always(kept({"url": None}))),
    "url is empty": broken(always(kept({"url": "", "b64_json": ""}))),
    "file is a page": broken(linked("/page.png"), "not a whole picture"),
    "b64_json is no base64": broken(always(kept({"b64_json": "see below!"})), "base64"),
    "GIF": Row(always(kept({"b64_json": picture("GIF")}))),
    "BMP": Row(always(kept({"b64_json": picture("BMP")}))),
    "AVIF": Row(always(kept({"b64_json": picture("AVIF")}))),
    "TIFF": Row(always(kept({"b64_json": picture("TIFF")}))),
    "WebP": Row(always(kept({"b64_json": picture("WEBP")}))),
    "SVG": broken(always(kept({"b64_json": b64encode(b"<svg/>").decode()}))),
    "9000x6000": broken(always(kept({"b64_json": picture("PNG", (9000, 6000))})), "9000 x 6000"),
    "JPEG with a second picture": Row(
        always(
            kept(
                {"b64_json": B},
                {"b64_json": b64encode((_UPLOADS / "two-pictures.jpg").read_bytes()).decode()},
                {"b64_json": B},
            )
        ),
        n=3,
    ),
    "one of three has a bad address": Row(
        always(kept({"b64_json": B}, {"url": "http://[::1/x.png"}, {"b64_json": B}), good()),
        n=3,
        calls=2,
    ),
    "one of three never comes": Row(
        always(
            kept({"b64_json": B}, {"url": "http://[::1/x.png"}, {"b64_json": B}),
            kept({"url": "http://[::1/x.png"}),
        ),
        n=3,
        calls=2,
        missing=1,
    ),
    "one of three has a data prefix": Row(
        always(kept({"b64_json": B}, {"b64_json": f"data:;base64,{B}"}, {"b64_json": B})), n=3
    ),
    "more pictures than asked for": Row(always(kept(*[{"b64_json": B}] * 4)), n=2),
    "no credit, with 200": Row(
        always(said(CREDITS)), "quota_exceeded", says="Insufficient credits", charge="none"
    ),
    "out of memory, with 200": Row(
        always(said(CUDA)), "provider_unavailable", 3, "CUDA out of memory", "unknown"
    ),
    "the same after blanks": Row(
        always(Reply(b" \n" * 1500 + json.dumps(CUDA).encode())),
        *("provider_unavailable", 3, "CUDA out of memory", "unknown"),
    ),
    "a picture after blanks": Row(always(Reply(b" " * 3000 + good().body))),
    "error is null": Row(always(said({"error": None, "data": [{"b64_json": B}]}))),
    "detail is a text": Row(
        always(said({"detail": "Model is loading"}, 400)),
        *("request_rejected", 1, "Model is loading", "none"),
    ),
    "detail is a list": Row(
        always(said(VALIDATION, 400)), "request_rejected", 1, "prompt: is too long", "none"
    ),
    "error in a list": Row(
        always(said([{"error": {"message": "No such model"}}], 400)),
        *("request_rejected", 1, "No such model", "none"),
    ),
    "error is a text": Row(
        always(said({"error": "No such model"}, 400)),
        *("request_rejected", 1, "No such model", "none"),
    ),
    "error in an error": Row(
        always(said({"error": {"error": {"message": "No such model", "code": 7}}}, 404)),
        *("request_rejected", 1, "No such model", "none"),
    ),
    "errors is a list": Row(
        always(said({"success": False, "errors": [{"code": 7, "message": "Bad model"}]}, 400)),
        *("request_rejected", 1, "Bad model", "none"),
    ),
    "error is a plain text": Row(
        always(Reply(b"model not found", "text/plain", 400)),
        *("request_rejected", 1, "model not found", "none"),
    ),
    "error without a body": Row(
        always(Reply(b"", "", 400)), "request_rejected", 1, "answered 400", "none"
    ),
    "content filter": Row(
        always(said({"error": {"code": "content_filter", "message": "Not this one"}}, 400)),
        *("prompt_rejected", 1, "Not this one", "none"),
    ),
    "a redirection": Row(
        always(Reply(b"", "", 307, {"Location": "http://127.0.0.1:1/"})),
        *("request_rejected", 1, "answered 307", "none"),
    ),
    "data is one picture": Row(always(said({"data": {"b64_json": B}}))),
    "list is called images": Row(always(said({"images": [{"b64_json": B}]}))),
    "list of texts": Row(always(said({"images": [B]}))),
    "list of addresses": Row(always(said({"output": ["/files/a.png", "http://[::1/"]}))),
    "a list alone": Row(always(said([{"b64_json": B}]))),
    "the picture itself": Row(always(Reply(GOOD, "image/png"))),
    "the picture itself, untyped": Row(always(Reply(GOOD, ""))),
    "typed text": Row(always(Reply(good().body, "text/plain; charset=utf-8"))),
    "with a byte order mark": Row(always(Reply(b"\xef\xbb\xbf" + good().body))),
    "compressed": Row(
        always(Reply(gzip.compress(good().body), headers={"Content-Encoding": "gzip"}))
    ),
    "compressed to nothing": Row(
        always(
            Reply(gzip.compress(bytes(200_000_000)), headers={"Content-Encoding": "gzip"}), good()
        ),
        calls=2,
    ),
    "rate limit in milliseconds": Row(
        always(
            said({"error": {"code": 429, "message": "Slow"}}, 429, Retry_After_Ms="1500"), good()
        ),
        calls=2,
        waits_seconds=1.4,
    ),
    "page of a proxy, 502": Row(
        always(Reply(HTML, "text/html", 502)),
        *("provider_unavailable", 3, "answered 502: 502 Bad Gateway", "unknown"),
    ),
    "page of a proxy, 524": Row(
        always(Reply(HTML.replace(b"502 Bad Gateway", b"A timeout occurred"), "text/html", 524)),
        *("provider_unavailable", 3, "A timeout occurred", "unknown"),
    ),
    "page with 200": Row(
        always(Reply(HTML, "text/html")), "empty_result", 3, "not JSON", "unknown"
    ),
    "no picture": Row(always(EMPTY_ANSWER), "empty_result", 3, "without a picture", "unknown"),
    "no picture, paid once": Row(
        always(EMPTY_ANSWER),
        *("charge_unknown", 1, "without a picture", "unknown"),
        request={"on_unknown_charge": "fail"},
    ),
    "unknown to it, and asked for": Row(
        refusing("quality", unknown("quality")),
        *("request_rejected", 1, "Unknown parameter: 'quality'", "none"),
        request={"quality": "high"},
    ),
    "nested too deep": Row(always(Reply(b"[" * 100_000), good()), calls=2),
    "numbers that are none": Row(
        always(said({"data": [{"b64_json": B}], "usage": {"input_tokens": "x"}}))
    ),
}
"""Answers to a request for no stream."""

DIALECTS: dict[str, Row] = {
    f"unknown {name}": Row(refusing(name, error), calls=2)
    for name, error in {
        "response_format": unknown("response_format"),
        "size": {"detail": [{"type": "extra_forbidden", "loc": ["body", "size"], "msg": "Extra"}]},
        "quality": {"error": {"message": "Unrecognized request argument supplied: quality"}},
        "output_format": unknown("output_format"),
        "stream": {"error": "unexpected keyword argument 'stream'"},
        "n": [{"error": {"code": 400, "message": UNKNOWN_NAME, "status": "INVALID_ARGUMENT"}}],
    }.items()
}
"""Servers that do not know a parameter: each is asked once more, without it."""
