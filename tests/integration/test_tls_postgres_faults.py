"""A certificate of PostgreSQL that cannot be verified is named in one line."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from devkit.stack.postgres import EmbeddedPostgres
from tests.support.cli import darkroom, tidy_environment
from tests.support.postgres_proxy import SOCKET_NAME
from tests.support.tls_proxy import TlsProxy, make_certificates, verified_url

Url = Callable[[TlsProxy, str, Path], str]


@pytest.fixture(scope="module")
def environment() -> Iterator[Mapping[str, str]]:
    """Give an environment without any server."""
    with tidy_environment() as environment:
        yield environment


@pytest.fixture
def proxy(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[TlsProxy]:
    """Give the session's PostgreSQL behind TLS."""
    with TlsProxy(postgres.folder / SOCKET_NAME, tmp_path / "server", is_asked_first=True) as proxy:
        yield proxy


def of_the_right_ca(proxy: TlsProxy, url: str, _folder: Path) -> str:
    """Return the address as it should be."""
    return verified_url(url, proxy, proxy.ca_file)


def of_another_ca(proxy: TlsProxy, url: str, folder: Path) -> str:
    """Return an address with the file of a CA that has not signed the certificate."""
    return verified_url(url, proxy, make_certificates(folder / "other")[0])


def of_another_host(proxy: TlsProxy, url: str, _folder: Path) -> str:
    """Return an address with a name that the certificate does not hold."""
    return verified_url(url, proxy, proxy.ca_file, "elsewhere")


def of_no_ca(proxy: TlsProxy, url: str, folder: Path) -> str:
    """Return an address that names a file which is not there."""
    return verified_url(url, proxy, folder / "none.pem")


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (of_another_ca, "SSL error: certificate verify failed"),
        (of_another_host, 'does not match host name "elsewhere"'),
        (of_no_ca, 'none.pem" does not exist'),
    ],
)
def test_a_certificate_that_cannot_be_verified_is_named_in_one_line(
    environment: Mapping[str, str],
    database_url: str,
    proxy: TlsProxy,
    tmp_path: Path,
    address: Url,
    reason: str,
) -> None:
    """By `darkroom migrate`, which the right file lets through."""
    right = of_the_right_ca(proxy, database_url, tmp_path)
    done = darkroom({**environment, "DATABASE_URL": right}, "migrate")
    assert done.returncode == 0, done.stderr
    wrong = address(proxy, database_url, tmp_path)
    done = darkroom({**environment, "DATABASE_URL": wrong}, "migrate")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("darkroom: PostgreSQL: ")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
