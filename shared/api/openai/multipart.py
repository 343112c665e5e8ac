"""Reads a body of type multipart/form-data (RFC 7578). The gate bounds its size."""

from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser

from shared.errors import InvalidRequest

PARTS_MAX = 64


@dataclass(frozen=True, slots=True)
class FormPart:
    """One field of a form: a text, or a file."""

    name: str
    data: bytes
    is_file: bool


def read_form(body: bytes, content_type: str) -> list[FormPart]:
    """Return the parts of a form, in their order.

    Raises:
        InvalidRequest: The body is cut short, or is not a form.
    """
    boundary = _parameter(content_type, "boundary")
    if not boundary:
        raise InvalidRequest("body: the Content-Type of a form must name its boundary")
    # A boundary is a line of its own; the one before the first part may begin the body.
    delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
    _, *chunks = (b"\r\n" + body).split(delimiter, PARTS_MAX + 1)
    if len(chunks) > PARTS_MAX:
        raise InvalidRequest(f"body: a form may have {PARTS_MAX} parts")
    return list(_read_parts(chunks))


def _read_parts(chunks: list[bytes]) -> Iterator[FormPart]:
    for chunk in chunks:
        if chunk.startswith(b"--"):
            return
        # Blanks may follow a boundary on its line.
        head, separator, data = chunk.partition(b"\r\n")[2].partition(b"\r\n\r\n")
        disposition = BytesHeaderParser().parsebytes(head)["content-disposition"]
        name = _parameter(str(disposition or ""), "name")
        if not separator or name is None:
            raise InvalidRequest("body: a part of the form has no name")
        yield FormPart(name, data, _parameter(str(disposition), "filename") is not None)
    raise InvalidRequest("body: the form is cut short")


def _parameter(header: str, name: str) -> str | None:
    message = Message()
    message["content-type"] = header
    value = message.get_param(name)
    return value if isinstance(value, str) or value is None else value[2]
