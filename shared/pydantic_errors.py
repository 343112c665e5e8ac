"""The one reader of pydantic's errors: which field is wrong, and why, as plain text.

Used where foreign input is parsed: settings, requests, events and HTTP bodies.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from shared.errors import one_line

FIELD_MAX_CHARS = 64

_OURS = "Value error, "
_SUBJECTS = ("Input ", "String ", "Dictionary ")
"""How pydantic's own sentences begin; a line of ours begins with the field."""


class FieldProblem(NamedTuple):
    """What is wrong with one field; `field` is empty where the whole input is meant."""

    field: str
    message: str


def read_problem(detail: Mapping[str, Any], missing: str = "is missing") -> FieldProblem:
    """Return one of the problems that `ValidationError.errors()` lists."""
    # The key of a mapping is foreign text of any length.
    names = [str(part)[:FIELD_MAX_CHARS] for part in detail["loc"] if part != "[key]"]
    known = {"missing": missing, "extra_forbidden": "is not a known field"}
    text = known.get(detail["type"], str(detail["msg"]))
    for subject in _SUBJECTS if names else ():
        text = text.removeprefix(subject)
    is_ours = text.startswith(_OURS)
    sentence = text.removeprefix(_OURS) if is_ours else f"{text[:1].lower()}{text[1:]}"
    return FieldProblem(one_line(".".join(names)), one_line(sentence))


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
    problems = (read_problem(detail, missing) for detail in details)
    lines = (f"{spell(field)} {message}".strip() for field, message in problems)
    return one_line(f"{subject}: {'; '.join(lines)}")
