"""Addresses of webhooks: those that no request could ever be sent to are refused at once."""

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.webhook_types import WebhookUrl

URL: TypeAdapter[str] = TypeAdapter(WebhookUrl)


@pytest.mark.parametrize(
    "url",
    [
        *("https://shop.example", "https://shop.example:8443/hooks?a=b", "http://[::1]:80/x"),
        *("https://a_b.example/", "https://192.0.2.1/"),
    ],
)
def test_addresses_of_servers_are_taken(url: str) -> None:
    """As they are."""
    assert URL.validate_python(url) == url


@pytest.mark.parametrize(
    "url",
    [
        *("https://[", "https://[::1", "https://[x]/", "https://[:::]/", "https://a]b/"),
        *("https://shop.example:99999/", "https://shop.example:port/", "https://a:1:2/"),
        *("https://", "https:///hooks", "https://user@shop.example/", "ftp://shop.example/"),
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    """The sender would try for three days."""
    with pytest.raises(ValidationError):
        URL.validate_python(url)
