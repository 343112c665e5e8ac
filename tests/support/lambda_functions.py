"""Handlers that the Lambda host runs in its tests; each does what its event says."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

_ticks = 0


def obey(event: dict[str, Any], context: Any) -> Any:
    """Carry out a direct event, or the bodies of SQS records and then report the failed ones."""
    if "Records" not in event:
        return _COMMANDS[event["do"]](event, context)
    answers = [
        _COMMANDS[command["do"]](command | {"record": record}, context)
        for record in event["Records"]
        for command in [json.loads(record["body"])]
    ]
    failed = [answer["messageId"] for answer in answers if answer and "messageId" in answer]
    return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]}


def serve_http(http_event: dict[str, Any], context: Any) -> Any:
    """Obey the command that is posted to /obey; else answer with the event and the process."""
    if http_event["rawPath"] == "/obey":
        command = json.loads(http_event["body"])
        return _COMMANDS[command["do"]](command, context)
    body = json.dumps({"pid": os.getpid(), "event": http_event})
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": body}


def mark(event: dict[str, Any], _context: object) -> None:
    """Stand in for a scheduled function: one line in a file for each invocation."""
    with Path(os.environ["MARK_FILE"]).open("a") as file:
        file.write(f"{os.getpid()} {event.get('detail-type') or event['work']}\n")


def _describe(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "thread_is_main": threading.current_thread() is threading.main_thread(),
        "request_id": context.aws_request_id,
        "remaining_ms": context.get_remaining_time_in_millis(),
        "function": context.function_name,
        "arn": context.invoked_function_arn,
        "size": len(event.get("padding", "")),
        "api_concurrency": os.environ.get("API_CONCURRENCY"),
        "padding": "x" * event.get("answer_bytes", 0),
    }


def _answer(event: dict[str, Any], _context: object) -> Any:
    return event["answer"]


def _raise(event: dict[str, Any], _context: object) -> None:
    raise ValueError(event.get("message", "no"))


def _hold(event: dict[str, Any], _context: object) -> None:
    """Say that it runs by a file, and run until another file appears."""
    folder = Path(event["folder"])
    if event.get("ends_on_sigterm"):
        signal.signal(signal.SIGTERM, lambda *_: (folder / "go-on").touch())
    (folder / f"running-{os.getpid()}").touch()
    while not (folder / "go-on").exists():
        time.sleep(0.01)
    (folder / f"done-{os.getpid()}").touch()


def _exit(event: dict[str, Any], _context: object) -> None:
    os._exit(event.get("code", 1))


def _print(event: dict[str, Any], _context: object) -> None:
    for line in event["lines"]:
        print(line)


def _tick(_event: dict[str, Any], _context: object) -> int:
    """Return how far a thread has counted that this process has run since its first tick."""
    if not any(thread.name == "ticker" for thread in threading.enumerate()):
        threading.Thread(target=_count, name="ticker", daemon=True).start()
    return _ticks


def _count() -> None:
    global _ticks
    while True:
        _ticks += 1
        time.sleep(0.001)


def _leave(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Note the delivery, then leave the message on the queue."""
    record: dict[str, Any] = event["record"]
    with Path(event["file"]).open("a") as file:
        file.write(f"{record['attributes']['ApproximateReceiveCount']} {time.time()}\n")
    if event.get("visible_after_seconds") is not None:
        import boto3  # slow: most tests need no client

        boto3.client("sqs").change_message_visibility(
            QueueUrl=os.environ["QUEUE_URL"],
            ReceiptHandle=record["receiptHandle"],
            VisibilityTimeout=event["visible_after_seconds"],
        )
    return record


def _forge(event: dict[str, Any], _context: object) -> int:
    """Answer another invocation than this one, and return the status."""
    host, _, key = os.environ["AWS_LAMBDA_RUNTIME_API"].partition("/")
    connection = HTTPConnection(host)
    path = f"/{key}/2018-06-01/runtime/invocation/{event['request_id']}/response"
    connection.request("POST", path, b'"forged"')
    return connection.getresponse().status


def _keep(event: dict[str, Any], _context: object) -> None:
    Path(event["file"]).write_text(json.dumps(event["record"]))


_COMMANDS: dict[str, Callable[[dict[str, Any], Any], Any]] = {
    "answer": _answer,
    "describe": _describe,
    "raise": _raise,
    "hold": _hold,
    "exit": _exit,
    "print": _print,
    "tick": _tick,
    "forge": _forge,
    "leave": _leave,
    "keep": _keep,
}
