"""The image: small, quick to start, and complete for what it asks of AWS."""

import re

import pytest

from tests.support.bucket import Bucket
from tests.support.compose import Compose, run

IMAGE_MB, OWN_MB = 350, 130
"""All of it at most, and what is above Python's base image."""

USES_OF_AWS = """
import os
import boto3

os.environ["QUEUE_URL"] = boto3.client("sqs").create_queue(QueueName="jobs")["QueueUrl"]
from shared.adapters.s3_images import S3ImageStore
from shared.adapters.sqs_queue import SqsDispatcher
from functions.secret_settings import read_secrets
from shared.imaging.store import asset_key
from shared.settings import load_settings
from uuid import uuid4

settings = load_settings()
key = asset_key(uuid4())
S3ImageStore(settings).put(key, b"bytes", "image/png")
SqsDispatcher(settings).dispatch(uuid4(), "task")
boto3.client("secretsmanager").create_secret(Name="openai", SecretString='{"A": "1"}')
boto3.client("sts").get_caller_identity()
print(S3ImageStore(settings).load(key).decode(), read_secrets(["openai"]))
"""


def python(image: str, *words: str, **environment: str) -> str:
    """Run Python in the image, on the network of this machine, and return all that it prints."""
    variables = [word for pair in environment.items() for word in ("--env", "=".join(pair))]
    options = ["--rm", "--read-only", "--network", "host", *variables, "--entrypoint", "sh"]
    return run(["docker", "run", *options, image, "-c", '"$0" "$@" 2>&1', "python", *words])


def test_the_image_is_small(compose: Compose) -> None:
    """Most of the rest is Python's base image, which others on a machine may share."""
    sizes = [
        int(run(["docker", "image", "inspect", "--format", "{{.Size}}", name])) / 1e6
        for name in (compose.image, "python:3.13-slim")
    ]
    assert sizes[0] < IMAGE_MB
    assert sizes[0] - sizes[1] < OWN_MB


@pytest.mark.parametrize("module", ["local.web.serve", "local.worker.tasks", "cli.app"])
def test_what_a_program_imports_is_compiled(compose: Compose, module: str) -> None:
    """A container cannot write: it would compile the rest anew at each start."""
    said = python(
        compose.image, "-v", "-c", f"import {module}",
        DATABASE_URL="postgresql://nowhere/none", REDIS_URL="redis://nowhere",
    )  # fmt: skip
    assert re.findall(r"code object from '?(/\S+\.py)\b(?!c)", said) == []
    assert re.search(rf"import '{module}'", said)


def test_the_image_asks_aws_for_all_that_it_needs(compose: Compose) -> None:
    """Pictures, envelopes, secrets and credentials: botocore's other descriptions are gone."""
    with Bucket() as bucket:
        said = python(
            compose.image, "-c", USES_OF_AWS,
            DATABASE_URL="postgresql://nowhere/none", REDIS_URL="redis://nowhere",
            **bucket.environment, AWS_ENDPOINT_URL=bucket.origin,
        )  # fmt: skip
    assert said.splitlines()[-1] == "bytes {'A': '1'}"
