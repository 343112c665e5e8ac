"""Addresses of servers in the forms of the libraries that others use."""

from urllib.parse import parse_qsl

import pytest
from kombu import Connection

from shared.adapters.celery_broker import broker_url
from shared.events.connection import connect_redis
from tests.support.builders import build_settings


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("redis://:p@h:1?db=2", "redis://:p@h:1/2"),
        ("redis://h/1?db=2", "redis://h/2"),
        ("redis://h/1?virtual_host=2", "redis://h/2"),
        ("redis://h?socket_timeout=5&timeout=1&max_connections=9", "redis://h"),
        ("unix:///tmp/r.sock?virtual_host=2", "unix:///tmp/r.sock?db=2"),
        ("rediss://h?ssl_cert_reqs=CERT_NONE", "rediss://h?ssl_cert_reqs=none"),
        ("rediss://h/0?ssl_cert_reqs=required&ssl_ca_certs=/etc/ca.pem", None),
    ],
)
def test_options_of_celery_and_of_redis_py_mean_the_same(url: str, read: str | None) -> None:
    """In the form that both, and kombu, read; every client here has timeouts of its own."""
    given = build_settings(redis_url=url).redis_url
    options = dict(parse_qsl(given.partition("?")[2]))
    if read is None:
        assert options == {"ssl_cert_reqs": "required", "ssl_ca_certs": "/etc/ca.pem"}
    else:
        assert given == read
    connect_redis(given).close()
    assert Connection(broker_url(given)).as_uri()
