"""A running HTTP gateway of the Lambda host, and a client for it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from local.web.server import KEEP_ALIVE_SECONDS
from tests.support.lambda_host import FUNCTIONS, PATIENCE_SECONDS, Host
from tests.support.wait import wait_until

SERVE_HTTP = f"{FUNCTIONS}.serve_http"
WEB_APP = "tests.support.web_app"

ENVIRONMENT = {
    "DATABASE_URL": "postgresql://unused",
    "REDIS_URL": "redis://unused",
    "QUEUE_URL": "http://127.0.0.1:9/123456789012/unused",
    "LOG_LEVEL": "DEBUG",
}


@dataclass
class Gateway(Host):
    """A running `python -m devkit.lambda_host.gateway`."""

    @property
    def address(self) -> str:
        """Where it says it serves."""
        lines = (json.loads(line) for line in list(self.lines))
        return next(str(line["address"]) for line in lines if line.get("event") == "api ready")

    def client(self) -> httpx.Client:
        """Return a client that asks no proxy."""
        return httpx.Client(base_url=self.address, trust_env=False, timeout=PATIENCE_SECONDS)

    def kill(self) -> None:
        """End it at once, and see that nothing outlives it."""
        self.process.kill()
        self.process.wait()
        wait_until(self.has_no_sandbox, PATIENCE_SECONDS, "a sandbox outlives its gateway")


def command(*arguments: str) -> list[str]:
    """Return the command line of a gateway."""
    return [sys.executable, "-m", "devkit.lambda_host.gateway", *arguments]


def start_gateway(*arguments: str, handler: str = SERVE_HTTP) -> Gateway:
    """Start one on a free port and wait until it is ready."""
    process = subprocess.Popen(
        command("--port", "0", "--handler", handler, *arguments),
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    gateway = Gateway(process)
    wait_until(lambda: gateway.says("api ready"), PATIENCE_SECONDS, "the gateway is not ready")
    return gateway


@contextmanager
def uvicorn_server(application: str) -> Iterator[httpx.Client]:
    """Run an application under uvicorn; the value is a client for it."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "uvicorn", application, "--port", "0", "--no-use-colors"),
            *("--timeout-keep-alive", str(KEEP_ALIVE_SECONDS)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        with process.stderr as lines:
            running = next(line for line in lines if "running on" in line)
            address = next(word for word in running.split() if word.startswith("http://"))
            with httpx.Client(base_url=address, trust_env=False) as client:
                yield client
    finally:
        process.kill()
        process.wait()
