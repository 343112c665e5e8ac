"""Which addresses of an answer are sent the key."""

import pytest

from shared.imaging.providers.flux import BASE_URL
from shared.imaging.providers.flux_api import may_have_key

OWN = "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    ("address", "base_url", "may"),
    [
        ("http://127.0.0.1:9/v1/get_result?id=1", OWN, True),
        ("http://127.0.0.1:8/v1/get_result?id=1", OWN, False),
        ("https://127.0.0.1:9/v1/get_result?id=1", OWN, False),
        ("http://x@127.0.0.1:9/v1/get_result", OWN, False),
        ("https://api.eu2.bfl.ai/v1/get_result?id=1", OWN, False),
        ("https://api.bfl.ai/v1/get_result?id=1", BASE_URL, True),
        ("http://api.bfl.ai/v1/get_result?id=1", BASE_URL, False),
        ("https://api.bfl.ai.example.com/v1/get_result", BASE_URL, False),
        ("https://evilbfl.ai/v1/get_result", BASE_URL, False),
        ("https://delivery-eu.bfl.ai/v1/get_result", BASE_URL, False),
        ("https://api.eu.bfl.ai:8443/v1/get_result", BASE_URL, False),
        ("https://x:y@api.eu.bfl.ai/v1/get_result", BASE_URL, False),
        ("https://[api.bfl.ai/v1", BASE_URL, False),
        ("/v1/get_result?id=1", BASE_URL, False),
        (f"https://api.bfl.ai/{'x' * 3000}", BASE_URL, False),
    ],
)
def test_the_key_stays_with_the_api(address: str, base_url: str, may: bool) -> None:
    """Another scheme, port or user is another place."""
    assert may_have_key(address, base_url) is may


def test_a_regional_host_of_the_provider_may_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """To which its addresses lead; behind a proxy no name is looked up here."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert may_have_key("https://api.eu2.bfl.ai/v1/get_result?id=1", BASE_URL)
