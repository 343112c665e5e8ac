"""Variables in docker-compose.yml, as the Compose Specification ("Interpolation") has them."""

from collections.abc import Mapping
from typing import Any


def interpolate(value: Any, environment: Mapping[str, str]) -> Any:
    """Return the value with `$NAME`, `${NAME}`, `${NAME:-default}` and their kin filled in.

    A variable that must be set and is not (`${NAME:?why}`) becomes an empty text, as one without
    a default does.
    """
    if isinstance(value, dict):
        return {name: interpolate(item, environment) for name, item in value.items()}
    if isinstance(value, list):
        return [interpolate(item, environment) for item in value]
    return _fill(value, environment) if isinstance(value, str) else value


def _fill(text: str, environment: Mapping[str, str]) -> str:
    filled, rest = [], text
    while rest:
        before, dollar, rest = rest.partition("$")
        filled.append(before)
        if not dollar:
            break
        if rest.startswith("$"):
            filled.append("$")
            rest = rest[1:]
        elif rest.startswith("{"):
            end = _end_of_braces(rest)
            filled.append(_expand(rest[1:end], environment))
            rest = rest[end + 1 :]
        else:
            name = _name_at_the_start(rest)
            filled.append(environment.get(name, "") if name else "$")
            rest = rest[len(name) :]
    return "".join(filled)


def _end_of_braces(text: str) -> int:
    """Return the index of the brace that closes the first one; braces within braces count."""
    depth = 0
    for index, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return index
    return len(text)


def _name_at_the_start(text: str) -> str:
    length = 0
    while length < len(text) and (text[length] == "_" or text[length].isalnum()):
        length += 1
    return text[:length]


def _expand(expression: str, environment: Mapping[str, str]) -> str:
    name = _name_at_the_start(expression)
    operator = expression[len(name) :]
    value = environment.get(name)
    # With a colon, an empty variable counts as one that is not set.
    is_set = bool(value) if operator.startswith(":") else value is not None
    sign, word = operator.removeprefix(":")[:1], operator.removeprefix(":")[1:]
    if sign == "+":
        return _fill(word, environment) if is_set else ""
    if is_set:
        return value or ""
    return _fill(word, environment) if sign == "-" else ""
