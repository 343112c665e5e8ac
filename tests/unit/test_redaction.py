"""Secrets and whatever looks like a key: none is left in a text."""

import pytest

from shared.errors import (
    MESSAGE_MAX_CHARS,
    ProviderRefusedKey,
    QuotaExceeded,
    RateLimited,
    RequestRejected,
    ServiceUnavailable,
    error_record,
    one_line,
    public_line,
)
from shared.redaction import note_secrets, password_of, redact

OPENAI_KEY = f"sk-proj-{'aB3_' * 10}"
OWN_KEY = f"dk_0123456789ab_{'x' * 43}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Incorrect API key provided: {OPENAI_KEY}.", "Incorrect API key provided: ***."),
        (f"key {OWN_KEY} was revoked", "key *** was revoked"),
        ("AKIAIOSFODNN7EXAMPLE is not known", "*** is not known"),
        ("ASIAIOSFODNN7EXAMPLE", "***"),
        (f"AIza{'Sy-1' * 9}", "***"),
        ("authorization: Bearer abc.DEF~ghi+jkl/mno==", "authorization: Bearer ***"),
        ("at redis://:pa@ss/w?rd@cache:6379/0", "at redis://***@cache:6379/0"),
        ("postgresql://u:pa%40ss@db/shop", "postgresql://***@db/shop"),
        ("get https://cdn/a.png?size=1&X-Amz-Signature=0a1b", None),
        (
            "desk-lamp-in-the-morning, risk-free-and-cheap",
            "desk-lamp-in-the-morning, risk-free-and-cheap",
        ),
        ("a bearer of bad news", "a bearer of bad news"),
        ("mail a@b.c about https://h:80/path", "mail a@b.c about https://h:80/path"),
    ],
)
def test_keys_and_passwords_are_masked(text: str, shown: str | None) -> None:
    """By their form alone; ordinary text stays as it is."""
    expected = "get https://cdn/a.png?size=1&X-Amz-Signature=***" if shown is None else shown
    assert redact(text) == expected
    assert one_line(text) == expected


def test_a_known_secret_is_masked_in_every_usual_spelling() -> None:
    """As it is, in percent, decoded, and as Python prints it; one may begin as another does."""
    note_secrets(["canary/of \\unit's", "canary%2Fencoded", "canary-long", "canary-long-er", ""])
    for text in ("canary/of \\unit's", "canary%2Fof%20%5Cunit%27s", repr("canary/of \\unit's")):
        assert "unit" not in redact(f"<{text}>")
    assert redact("canary%2Fencoded canary/encoded") == "*** ***"
    assert redact("canary-long-er, canary-long") == "***, ***"


def test_a_short_password_masks_no_ordinary_word() -> None:
    """It is masked where it is known to be one: in an address."""
    note_secrets(["mug", password_of("redis://:mug@h")])
    assert redact("a mug at redis://:mug@h") == "a mug at redis://***@h"


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("postgresql://u:p%40ss@h/d", "p%40ss"),
        ("redis://:p@s/s?w@h:1/0", "p@s/s?w"),
        ("postgresql://darkroom:darkroom@h/d", ""),
        ("postgresql://u@h/d", ""),
        ("https://h:80/a", ""),
        ("", ""),
    ],
)
def test_password_of_an_address_is_found(url: str, password: str) -> None:
    """Well formed or not; a user's own name is no secret."""
    assert password_of(url) == password


def test_no_half_of_a_secret_is_left_where_a_text_is_cut() -> None:
    """Neither at the end of a message, nor where reading stops."""
    for before in (MESSAGE_MAX_CHARS - 20, 8 * MESSAGE_MAX_CHARS - 20):
        shown = one_line(f"{'x' * before} {OPENAI_KEY} and more")
        assert "sk-proj" not in shown
    assert "aB3_" not in one_line(f"{OPENAI_KEY} " * 200)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ProviderRefusedKey(f"no {OPENAI_KEY}"), "The image provider refused the API key"),
        (QuotaExceeded("org-123 owes us"), "The account with the image provider is used up"),
        (RateLimited("org-123 is too fast"), "The image provider was too busy"),
        (ServiceUnavailable("PostgreSQL: at 10.0.0.7"), "A server was unavailable"),
        (RequestRejected(f"no size {OPENAI_KEY}"), "no size ***"),
    ],
    ids=lambda value: getattr(value, "code", ""),
)
def test_what_providers_say_of_accounts_and_drivers_of_servers_is_not_shown(
    error: RequestRejected, shown: str
) -> None:
    """Rows and clients get a sentence of ours; other refusals keep their reason."""
    assert public_line(error) == shown
    assert error_record(error, 1)["message"] == shown
