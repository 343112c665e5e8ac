"""An embedded SQS: moto's HTTP server with the job queue and its dead-letter queue."""

import json
import secrets
import sys
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import urlopen

from devkit.environment import DEFAULT_REGION
from devkit.stack.server import EmbeddedServer, free_port
from shared.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

QUEUE_NAME = "darkroom-jobs"
DEAD_LETTER_QUEUE_NAME = "darkroom-jobs-dead"
VISIBILITY_TIMEOUT_SECONDS = 6 * int(Settings.model_fields["time_limit"].default)
"""AWS asks for six times the function timeout (Lambda guide, "Configuring an Amazon SQS queue
as an event source"), which is TIME_LIMIT."""

MAX_RECEIVE_COUNT = 10
"""Attempts are counted in PostgreSQL; throttled and early deliveries count here as well."""

NO_SOURCE = (None, None, None, None)
"""botocore: where a session variable comes from (file key, environment, default, conversion)."""


class EmbeddedSqs(EmbeddedServer):
    """SQS on a loopback port, with a key. Queues are kept in memory: a restart empties them.

    Args:
        visibility_timeout_seconds: How long a received message is hidden.
        max_receive_count: Deliveries of a message before it goes to the dead-letter queue.

    Attributes:
        queue_url: The address of the job queue; empty until the server was started once.
        dead_letter_queue_url: The address of the queue for messages that always failed.
    """

    title = "SQS (moto)"
    setting = "QUEUE_URL"

    def __init__(
        self,
        folder: Path,
        *,
        visibility_timeout_seconds: int = VISIBILITY_TIMEOUT_SECONDS,
        max_receive_count: int = MAX_RECEIVE_COUNT,
    ) -> None:
        super().__init__(folder)
        self._port = free_port()
        self._key = f"local{secrets.token_hex(16)}"
        self._visibility_timeout_seconds = visibility_timeout_seconds
        self._max_receive_count = max_receive_count
        self.queue_url = ""
        self.dead_letter_queue_url = ""

    @property
    def url(self) -> str:
        """The endpoint: the value for AWS_ENDPOINT_URL_SQS."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to use the job queue through boto3."""
        return {
            "QUEUE_URL": self.queue_url,
            "AWS_ENDPOINT_URL_SQS": self.url,
            "AWS_ACCESS_KEY_ID": self._key,
            "AWS_SECRET_ACCESS_KEY": self._key,
            "AWS_DEFAULT_REGION": DEFAULT_REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> "SQSClient":
        """Return a boto3 client of this server, whatever AWS settings the process has."""
        import boto3  # takes 0.4 s, in which the server starts
        import botocore.session

        without_profile = botocore.session.Session(session_vars={"profile": NO_SOURCE})
        return boto3.session.Session(botocore_session=without_profile).client(
            "sqs",
            endpoint_url=self.url,
            region_name=DEFAULT_REGION,
            aws_access_key_id=self._key,
            aws_secret_access_key=self._key,
        )

    def wait_until_ready(self) -> None:
        """Wait until it answers, then create the queues."""
        with closing(self.client()) as client:
            super().wait_until_ready()
            self._create_queues(client)

    def answers(self) -> bool:
        """Return whether it answers over HTTP: with 403, as it does without its key."""
        try:
            with urlopen(self.url, timeout=5):  # noqa: S310 - our own address
                return False
        except HTTPError as error:
            return error.code == HTTPStatus.FORBIDDEN
        except OSError:
            return False

    def _begin(self) -> None:
        program = Path(__file__).with_name("sqs_server.py").resolve()
        key = self.folder / "key"
        key.touch(mode=0o600)
        key.write_text(self._key, "ascii")
        self._run([sys.executable, "-I", "-W", "ignore", program, str(self._port), key])

    def _create_queues(self, client: "SQSClient") -> None:
        dead = client.create_queue(QueueName=DEAD_LETTER_QUEUE_NAME)["QueueUrl"]
        attributes = client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
        redrive = {
            "deadLetterTargetArn": attributes["Attributes"]["QueueArn"],
            "maxReceiveCount": self._max_receive_count,
        }
        self.dead_letter_queue_url = dead
        self.queue_url = client.create_queue(
            QueueName=QUEUE_NAME,
            Attributes={
                "VisibilityTimeout": str(self._visibility_timeout_seconds),
                "RedrivePolicy": json.dumps(redrive),
            },
        )["QueueUrl"]
