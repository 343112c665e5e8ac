"""The AWS variables of the host and its functions, derived from the queue's address."""

from collections.abc import Mapping
from urllib.parse import urlsplit

DEFAULT_REGION = "us-east-1"


def with_aws_variables(environment: Mapping[str, str], queue_url: str) -> dict[str, str]:
    """Return the environment with what an AWS client needs to reach this queue.

    A queue that is not on AWS is served by a stand-in at the root of its URL, which takes any
    key. What is set already stays as it is.
    """
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    derived = {"AWS_REGION": region or DEFAULT_REGION}
    derived["AWS_DEFAULT_REGION"] = derived["AWS_REGION"]
    address = urlsplit(queue_url)
    if not (address.hostname or "").endswith(("amazonaws.com", "amazonaws.com.cn")):
        derived["AWS_ENDPOINT_URL_SQS"] = f"{address.scheme}://{address.netloc}"
        derived["AWS_ACCESS_KEY_ID"] = "local"
        derived["AWS_SECRET_ACCESS_KEY"] = "local"  # noqa: S105 - what any stand-in accepts
    return {**derived, **environment}
