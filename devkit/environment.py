"""The environment that this program and its runtimes run in: given, cleaned, taken on."""

import os
from collections.abc import Mapping

LOOPBACK = "127.0.0.1"


def without_aws(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the queue and the AWS settings of somebody else.

    The embedded SQS stands on the loopback, for which no proxy must be asked.
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


def adopt(environment: Mapping[str, str]) -> None:
    """Make this the environment of this process, for its settings, boto3 and its children."""
    os.environ.clear()
    os.environ.update(environment)
