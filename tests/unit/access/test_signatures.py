"""Signed addresses: what opens what, and for how long."""

from uuid import UUID

import pytest

from shared.access.signatures import TOKEN_MAX_CHARS, AddressSigner, ExpiredToken, InvalidToken

THING, OTHER = UUID(int=1), UUID(int=2)
SECRET = "0123456789abcdef"


def test_a_token_opens_its_thing_and_no_other() -> None:
    """Nor a thing of another kind, nor one signed with another key."""
    signer = AddressSigner(SECRET, "events", 60)
    token = signer.sign(THING)
    signer.check(THING, token)
    for other, thing in (
        (signer, OTHER),
        (AddressSigner(SECRET, "image", 60), THING),
        (AddressSigner("another key", "events", 60), THING),
    ):
        with pytest.raises(InvalidToken):
            other.check(thing, token)


def test_a_token_expires() -> None:
    """It was valid once, and says so."""
    token = AddressSigner(SECRET, "events", 60).sign(THING)
    with pytest.raises(ExpiredToken):
        AddressSigner(SECRET, "events", -1).check(THING, token)


@pytest.mark.parametrize("token", ["", ".", "a", "a.b", "a.b.c", "é.ü", "\x00", "x" * 10_000])
def test_what_is_no_token_is_refused(token: str) -> None:
    """It comes from outside, as long as anybody likes."""
    with pytest.raises(InvalidToken):
        AddressSigner(SECRET, "events", 60).check(THING, token)


def test_a_token_fits_into_an_address() -> None:
    """Short, and nothing in it needs escaping."""
    token = AddressSigner(SECRET, "events", 60).sign(THING)
    assert len(token) < TOKEN_MAX_CHARS / 2
    assert all(letter.isalnum() or letter in "-_." for letter in token)


def test_an_address_stays_the_same_for_a_quarter_of_its_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So caches know it; three quarters of its life are left then."""
    signer = AddressSigner(SECRET, "image", 400)
    tokens = []
    for now in (1_000_000_000, 1_000_000_099, 1_000_000_100):
        monkeypatch.setattr("time.time", lambda now=now: now)
        tokens.append(signer.sign(THING))
    assert tokens[0] == tokens[1] != tokens[2]
    monkeypatch.setattr("time.time", lambda: 1_000_000_400)
    signer.check(THING, tokens[1])
    monkeypatch.setattr("time.time", lambda: 1_000_000_401)
    with pytest.raises(ExpiredToken):
        signer.check(THING, tokens[1])
