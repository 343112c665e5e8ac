"""What the tests of the local Lambda host share: moto's server, a queue, a running host."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
from anyio.from_thread import BlockingPortal

from devkit.lambda_host.function import LambdaFunction
from devkit.lambda_host.function_process import Outcome
from devkit.lambda_host.sandbox import Sandbox
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

FUNCTIONS = "tests.support.lambda_functions"
OBEY = f"{FUNCTIONS}.obey"
PATIENCE_SECONDS = 15.0
HIDDEN_SECONDS = 60
"""Visibility timeout of messages that must not come back within a test."""


def process_state(pid: int) -> str:
    """Return the kernel's letter for a process (proc(5)): S sleeping, T stopped; X when gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that only waits to be reaped does not.

    Its first thread may be gone (Z) while others still hold its sockets open.
    """
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return False
    return len(threads) > 1 or process_state(pid) not in "ZX"


class CalledSandbox:
    """A sandbox in an event loop of another thread; each call waits for its result."""

    def __init__(self, portal: BlockingPortal, function: LambdaFunction) -> None:
        self._portal = portal
        self._sandbox = portal.call(Sandbox, function)
        self.function = function

    @property
    def pid(self) -> int | None:
        """The living process."""
        return self._sandbox.pid

    def invoke(self, payload: Mapping[str, Any]) -> Outcome:
        """Run the function once."""
        result: Outcome = self._portal.call(self._sandbox.invoke, json.dumps(payload).encode())
        return result

    def close(self) -> None:
        """End its process."""
        self._portal.call(self._sandbox.close)


@contextmanager
def sqs_server() -> Iterator[str]:
    """Run moto's server; the value is its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def answers() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(answers, PATIENCE_SECONDS, "moto's server does not listen")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@dataclass
class Queue:
    """A queue with its dead-letter queue, and what a test asks of them."""

    sqs: "SQSClient"
    url: str
    dead_letter_url: str

    def send(self, *commands: dict[str, Any]) -> None:
        """Send one message for each command."""
        for command in commands:
            self.sqs.send_message(QueueUrl=self.url, MessageBody=json.dumps(command))

    def size(self) -> int:
        """How many messages are left, visible or hidden."""
        return self._count(self.url)

    def is_empty(self) -> bool:
        """Whether no message is left, neither visible nor hidden."""
        return self.size() == 0

    def dead_letters(self) -> int:
        """How many messages the dead-letter queue holds."""
        return self._count(self.dead_letter_url)

    def hide_for(self, seconds: int) -> None:
        """Set the visibility timeout."""
        self.sqs.set_queue_attributes(
            QueueUrl=self.url, Attributes={"VisibilityTimeout": str(seconds)}
        )

    def waiting(self) -> int:
        """How many messages are visible."""
        answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])

    def _count(self, url: str) -> int:
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        attributes = answer["Attributes"]
        visible = int(attributes["ApproximateNumberOfMessages"])
        return visible + int(attributes["ApproximateNumberOfMessagesNotVisible"])


@contextmanager
def new_queue(sqs_url: str) -> Iterator[Queue]:
    """Make a queue that gives up on a message after three deliveries."""
    sqs = boto3.client(
        "sqs",
        endpoint_url=sqs_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    with closing(sqs):
        name = uuid4().hex
        dead = sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        dead_arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])
        redrive = {
            "deadLetterTargetArn": dead_arn["Attributes"]["QueueArn"],
            "maxReceiveCount": 3,
        }
        url = sqs.create_queue(
            QueueName=name,
            Attributes={
                "VisibilityTimeout": str(HIDDEN_SECONDS),
                "RedrivePolicy": json.dumps(redrive),
            },
        )["QueueUrl"]
        yield Queue(sqs, url, dead)


@dataclass
class Host:
    """A running `python -m devkit.lambda_host`, its output and its processes."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Collect the output as it comes."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def says(self, text: str) -> bool:
        """Whether a line of the output holds the text."""
        return any(text in line for line in list(self.lines))

    def sandbox_pids(self) -> list[int]:
        """The processes that the host has started and that still live."""
        return [pid for pid in self._started_pids() if is_alive(pid)]

    def has_no_sandbox(self) -> bool:
        """Whether none of them lives."""
        return not self.sandbox_pids()

    def stop(self, number: signal.Signals) -> int:
        """Send a signal, wait for the end and return the exit code."""
        self.process.send_signal(number)
        return_code = self.process.wait(timeout=PATIENCE_SECONDS)
        self._reader.join(timeout=PATIENCE_SECONDS)
        return return_code

    def _started_pids(self) -> list[int]:
        events = [json.loads(line) for line in list(self.lines)]
        return [event["pid"] for event in events if event.get("event") == "sandbox started"]

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line)
