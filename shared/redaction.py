"""What must never leave a process: its secrets, and whatever looks like a key.

`shared.settings` notes the secrets that it reads. Every text of a server or a provider passes
`redact` before it is logged (`shared.logs`) or becomes a message (`shared.errors.one_line`).
"""

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

MASK = "***"

SECRET_LEAST_CHARS = 8
"""Shorter ones are parts of ordinary words."""

AROUND_SECRETS = " \t\r\n\ufeff\u200b\u00a0"
"""What editors and consoles add: blanks, a newline, a byte order mark, a zero-width space."""

_PASSWORD = re.compile(r"://(?P<user>[^\s/?#@:]*):(?P<password>.*)@")

_LOOKS_SECRET = re.compile(
    r"""
    (?P<scheme> \w+:// ) (?: [^\s/?\#"'@]*:[^\s"']* | [^/\s"']+ ) @
    | (?P<name> [?&](?:token|sig|signature|key|api_key|access_token|x-amz-[a-z-]+)= ) [^&\s"']+
    | (?P<bearer> \bbearer\s+ ) [\w.~+/=-]{20,}
    | \b(?: sk- | dk_ ) [\w-]{12,}
    | \b(?: AKIA | ASIA ) [0-9A-Z]{12,}
    | \bAIza [\w-]{30,}
    """,
    re.VERBOSE | re.IGNORECASE,
)

_known: frozenset[str] = frozenset()
_configured: re.Pattern[str] | None = None


def note_secrets(secrets: Iterable[str]) -> None:
    """Have every later text of this process lose these secrets, in any usual spelling."""
    global _known, _configured
    # Settings are cleaned of what stands around them.
    cleaned = (secret.strip(AROUND_SECRETS) for secret in secrets)
    found = {secret for secret in cleaned if len(secret) >= SECRET_LEAST_CHARS}
    spelled = {
        spelling
        for secret in found
        for spelling in (secret, unquote(secret), quote(secret, safe=""), repr(secret)[1:-1])
    }
    if not spelled <= _known:
        _known |= spelled
        # The longest first: one secret may begin as another does.
        longest_first = sorted(_known, key=len, reverse=True)
        _configured = re.compile("|".join(map(re.escape, longest_first)))


def password_of(url: str) -> str:
    """Return the password in an address, well formed or not; empty if there is none.

    One that equals its user, as in a local set-up, is no secret.
    """
    found = _PASSWORD.search(url)
    return "" if found is None or found["user"] == found["password"] else found["password"]


def redact(text: str) -> str:
    """Return the text with a mask for each known secret, key and password in it."""
    if _configured is not None:
        text = _configured.sub(MASK, text)
    return _LOOKS_SECRET.sub(_keep_name, text)


def _keep_name(found: re.Match[str]) -> str:
    if found["scheme"]:
        return f"{found['scheme']}{MASK}@"
    return f"{found['name'] or found['bearer'] or ''}{MASK}"
