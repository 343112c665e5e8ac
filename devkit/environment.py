"""The environment that this program and its runtimes run in: read, cleaned, replaced."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from shared.errors import ConfigurationError

LOOPBACK = "127.0.0.1"
DEFAULT_REGION = "us-east-1"


def without_aws(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the user's own AWS settings and queue.

    The embedded SQS listens on the loopback address, which must not be reached through a proxy.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith("AWS_") and name != "QUEUE_URL"
    }
    given = kept.get("no_proxy") or kept.get("NO_PROXY")
    no_proxy = f"{given},{LOOPBACK}" if given else LOOPBACK
    return {
        **kept,
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def with_aws_variables(environment: Mapping[str, str], queue_url: str | None) -> dict[str, str]:
    """Return the environment with what an AWS client needs to reach this queue.

    A queue that is not on AWS is served by a stand-in at the root of its URL. One that has a key
    is given with it, others accept any. Variables that are set already stay.

    Raises:
        ConfigurationError: QUEUE_URL is not set.
    """
    if queue_url is None:
        raise ConfigurationError("settings: QUEUE_URL is not set")
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    derived = dict.fromkeys(("AWS_REGION", "AWS_DEFAULT_REGION"), region or DEFAULT_REGION)
    address = urlsplit(queue_url)
    if not (address.hostname or "").endswith(("amazonaws.com", "amazonaws.com.cn")):
        derived["AWS_ENDPOINT_URL_SQS"] = f"{address.scheme}://{address.netloc}"
        derived |= dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "local")
    return {**derived, "QUEUE_URL": queue_url, **environment}


@contextmanager
def adopted(environment: Mapping[str, str]) -> Iterator[None]:
    """Make this the environment of the process, for its settings, boto3 and its children."""
    before = dict(os.environ)
    adopt(environment)
    try:
        yield
    finally:
        adopt(before)


def adopt(environment: Mapping[str, str]) -> None:
    """Make this the environment of the process, for good."""
    taken = dict(environment)
    os.environ.clear()
    os.environ.update(taken)
    if "boto3" in sys.modules:
        # Its session keeps the keys of the environment before.
        vars(sys.modules["boto3"])["DEFAULT_SESSION"] = None
