"""Text for a terminal, without the characters that command it or change the order of what it shows.

A row, a server or an event may hold any. Used by the command line for all that it prints, and by
programs that end with a line on standard error.
"""

import re
from unicodedata import category

_UNUSUAL = re.compile(r"[^ -~]")

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control, format (with direction) and half characters, separators of lines and of paragraphs."""


def printable(text: str) -> str:
    """Return the text as one line: a space for what controls, nothing for what formats."""
    return _UNUSUAL.sub(_replace, text)


def printable_json(text: str) -> str:
    """Return JSON with those characters escaped, and its own line ends."""
    return _UNUSUAL.sub(_escape, text)


def _replace(found: re.Match[str]) -> str:
    kind = category(found[0])
    if kind not in _HIDDEN:
        return found[0]
    return "" if kind == "Cf" else " "


def _escape(found: re.Match[str]) -> str:
    sign = found[0]
    if sign == "\n" or category(sign) not in _HIDDEN:
        return sign
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
