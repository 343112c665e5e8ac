"""Fetching an image from an address that a provider answered with."""

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from shared.deadline import Deadline
from shared.errors import AttemptError
from shared.imaging.providers.fetching import HOPS_MAX, ImageFetcher
from tests.support.images_api import png

IMAGE = png(64, 48)
BYTES_MAX = 10_000


class Files(ThreadingHTTPServer):
    """A server on loopback that answers each path as its test says, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[tuple[str, str | None]] = []

    def url(self, path: str) -> str:
        """Return the address of a path."""
        return f"http://127.0.0.1:{self.server_port}{path}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer as the test says."""
        assert isinstance(self.server, Files)
        self.server.asked.append((self.path, self.headers["host"]))
        status, headers, body = self.server.answers[self.path]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


@pytest.fixture
def files() -> Iterator[Files]:
    """Give a server."""
    with Files() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(url: str, base_url: str = "http://127.0.0.1:1/v1") -> bytes:
    """Fetch from an address."""
    return ImageFetcher(base_url, BYTES_MAX).fetch(url, Deadline(20))


def test_an_image_is_fetched_with_its_query(files: Files) -> None:
    """As an address that is signed needs it; the fragment stays here."""
    files.answers["/a%20b.png?sig=1&x=%2F"] = (200, {"Content-Type": "image/png"}, IMAGE)
    assert fetch(files.url("/a%20b.png?sig=1&x=%2F#top")) == IMAGE
    assert files.asked == [("/a%20b.png?sig=1&x=%2F", f"127.0.0.1:{files.server_port}")]


def test_redirections_are_followed_up_to_a_bound(files: Files) -> None:
    """Relative ones, too."""
    files.answers["/"] = (302, {"Location": "next/1.png"}, b"")
    files.answers["/next/1.png"] = (200, {"Content-Type": "application/octet-stream"}, IMAGE)
    assert fetch(files.url("")) == IMAGE
    files.answers["/loop"] = (301, {"Location": files.url("/loop")}, b"")
    files.asked.clear()
    with pytest.raises(AttemptError, match="too many redirections"):
        fetch(files.url("/loop"))
    assert len(files.asked) == HOPS_MAX + 1


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:10.0.0.1]/",
        "http://[fe80::1%25lo]/",
    ],
)
def test_no_redirection_leads_into_a_private_network(files: Files, address: str) -> None:
    """Only the host of the API itself is trusted, by its name."""
    files.answers["/"] = (307, {"Location": address}, b"")
    with pytest.raises(AttemptError, match=r"private network|not known") as raised:
        fetch(files.url("/"))
    assert (raised.value.code, raised.value.charge_state) == ("unusable_image", "charged")


def test_a_private_address_is_not_even_connected_to(files: Files) -> None:
    """Unless it is the host of the API."""
    with pytest.raises(AttemptError, match="private network"):
        fetch(files.url("/"), base_url="http://192.0.2.1/v1")
    assert files.asked == []


@pytest.mark.parametrize(
    "url",
    ["ftp://127.0.0.1/1.png", "http://u:p@127.0.0.1/", "http://[::1/", "http://a:99999"],
)
def test_an_address_of_another_form_is_refused(url: str) -> None:
    """As an error of the provider, whose message shows no address."""
    with pytest.raises(AttemptError) as raised:
        fetch(url)
    assert raised.value.code == "unusable_image"
    assert "127.0.0.1" not in str(raised.value)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((404, {"Content-Type": "image/png"}, b""), "unusable_image"),
        ((410, {"Content-Type": "image/png"}, b""), "unusable_image"),
        ((503, {"Content-Type": "image/png"}, b""), "provider_unavailable"),
        ((200, {"Content-Type": "image/png"}, bytes(BYTES_MAX + 1)), "unusable_image"),
        ((200, {"Content-Encoding": "gzip"}, gzip.compress(bytes(10**7))), "unusable_image"),
        ((200, {"Content-Encoding": "gzip"}, IMAGE), "unusable_image"),
        ((200, {"Content-Encoding": "br"}, IMAGE), "unusable_image"),
        ((200, {"Content-Type": "image/png", "Content-Length": "999"}, IMAGE), "corrupt_image"),
    ],
    ids=["missing", "gone", "busy", "large", "bomb", "no gzip", "unknown", "cut"],
)
def test_what_is_not_an_image_is_an_error(
    files: Files, answer: tuple[int, dict[str, str], bytes], code: str
) -> None:
    """Each was paid for."""
    files.answers["/1.png"] = answer
    with pytest.raises(AttemptError) as raised:
        fetch(files.url("/1.png"))
    assert (raised.value.code, raised.value.charge_state) == (code, "charged")
