"""The one reader of pydantic's errors: which field is wrong, and why, as plain text.

Used where foreign input is parsed: settings, requests, events and HTTP bodies.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from shared.errors import one_line

FIELD_MAX_CHARS = 64

_OWN_PREFIX = "Value error, "
_SUBJECTS = ("Input ", "String ", "Dictionary ")
"""How pydantic's sentences begin; ours begin with the field."""


class FieldProblem(NamedTuple):
    """What is wrong with one field; `field` is empty where the whole input is meant."""

    field: str
    message: str


def read_problems(details: Iterable[Mapping[str, Any]]) -> list[FieldProblem]:
    """Return the problems in what `ValidationError.errors()` returns."""
    return [FieldProblem(_field_of(detail["loc"]), _message_of(detail)) for detail in details]


def describe(
    error: ValidationError,
    subject: str,
    *,
    missing: str = "is missing",
    spell: Callable[[str], str] = str,
) -> str:
    """Return an error as one line that names every wrong field and shows no value.

    Args:
        error: As pydantic raised it.
        subject: What was parsed; the line begins with it.
        missing: What the line says of a required field that is absent.
        spell: Turns the name of a field into the one that its writer knows.
    """
    details = error.errors(include_url=False, include_input=False, include_context=False)
    problems = []
    for detail, (field, message) in zip(details, read_problems(details), strict=True):
        text = missing if detail["type"] == "missing" else message
        problems.append(f"{spell(field)} {text}".strip())
    return one_line(f"{subject}: {'; '.join(problems)}")


def _field_of(location: Iterable[Any]) -> str:
    # The key of a mapping is foreign text of any length.
    return one_line(".".join(str(part)[:FIELD_MAX_CHARS] for part in location if part != "[key]"))


def _message_of(detail: Mapping[str, Any]) -> str:
    known = {"missing": "is missing", "extra_forbidden": "is not a known field"}
    if detail["type"] in known:
        return known[detail["type"]]
    text = str(detail["msg"])
    if text.startswith(_OWN_PREFIX):
        return one_line(text.removeprefix(_OWN_PREFIX))
    for subject in _SUBJECTS if detail["loc"] else ():
        text = text.removeprefix(subject)
    return one_line(f"{text[:1].lower()}{text[1:]}")
