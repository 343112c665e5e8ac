"""Forms as clients send them, and what is no form."""

import httpx
import pytest

from shared.api.openai.multipart import FormPart, read_form
from shared.errors import InvalidRequest

TYPE = "multipart/form-data; boundary=cut"
PART = b'--cut\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na mug\r\n'
END = b"--cut--\r\n"


def test_form_of_httpx_is_read_as_it_was_written() -> None:
    """Every byte of a file, line breaks at its ends and whatever looks like a boundary."""
    data = b"\r\n--cut\x00--" + bytes(range(256)) + b"--\r\n"
    request = httpx.Request(
        "POST",
        "http://localhost",
        data={"prompt": "ein Becher: 椅子", "n": "2", "empty": ""},
        files=[("image[]", ("a.png", data)), ("image[]", ("b.png", b""))],
    )
    assert read_form(request.read(), request.headers["content-type"]) == [
        FormPart("prompt", "ein Becher: 椅子".encode(), is_file=False),
        FormPart("n", b"2", is_file=False),
        FormPart("empty", b"", is_file=False),
        FormPart("image[]", data, is_file=True),
        FormPart("image[]", b"", is_file=True),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"a preamble\r\n" + PART + END,
        PART.replace(b"--cut\r\n", b"--cut \t\r\n") + END + b"an epilogue",
        PART.replace(b'"prompt"', b"prompt") + b"--cut--",
        PART.replace(b"Content-Disposition", b"content-disposition") + END,
        PART.replace(b"form-data;", b"form-data ;") + END,
    ],
)
def test_forms_of_other_programs_are_read(body: bytes) -> None:
    """What the RFC allows around the parts."""
    assert read_form(body, TYPE) == [FormPart("prompt", b"a mug", is_file=False)]


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (PART + END, "multipart/form-data", "boundary"),
        (b"", TYPE, "cut short"),
        (PART, TYPE, "cut short"),
        (PART + END[:-3], TYPE, "no name"),
        (b"--cut\r\n\r\nhi\r\n" + END, TYPE, "no name"),
        (b"--cut\r\nContent-Disposition: form-data\r\n\r\nhi\r\n" + END, TYPE, "no name"),
        (b"--cut\r\nno header, no end", TYPE, "no name"),
        (PART * 65 + END, TYPE, "64 parts"),
    ],
)
def test_what_is_no_form_is_refused(body: bytes, content_type: str, reason: str) -> None:
    """With the reason."""
    with pytest.raises(InvalidRequest, match=reason):
        read_form(body, content_type)
