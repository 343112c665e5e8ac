"""`python -m devkit.lambda_host.gateway`: settings from the environment, then serve."""

import argparse
import os
import sys
from collections.abc import Sequence

from devkit.lambda_host.gateway.http_gateway import GatewayOptions, HttpGateway
from local.web.service import run_service
from shared.settings import Settings


def main(arguments: Sequence[str]) -> int:
    """Run the gateway; return its exit code."""
    return run_service(
        "lambda_host",
        lambda settings: HttpGateway(settings, _parse(arguments, settings), os.environ),
    )


def _parse(arguments: Sequence[str], settings: Settings) -> GatewayOptions:
    defaults = GatewayOptions()
    parser = argparse.ArgumentParser("python -m devkit.lambda_host.gateway", description=__doc__)
    parser.add_argument("--host", default=settings.api_host)
    parser.add_argument("--port", type=int, default=settings.api_port)
    parser.add_argument("--handler", default=defaults.handler)
    parser.add_argument("--concurrency", type=int, default=defaults.concurrency)
    parser.add_argument("--timeout-seconds", type=float, default=defaults.timeout_seconds)
    parser.add_argument("--no-freeze", action="store_true", help="let idle processes run on")
    parsed = parser.parse_args(arguments)
    if parsed.concurrency < 1:
        parser.error("--concurrency must be at least 1")
    if parsed.timeout_seconds <= 0:
        parser.error("--timeout-seconds must be above 0")
    if not 0 <= parsed.port <= 65535:
        parser.error("--port must be between 0 and 65535")
    return GatewayOptions(
        host=parsed.host,
        port=parsed.port,
        handler=parsed.handler,
        concurrency=parsed.concurrency,
        timeout_seconds=parsed.timeout_seconds,
        freezes=not parsed.no_freeze,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
