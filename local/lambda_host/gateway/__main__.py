"""`python -m local.lambda_host.gateway`: settings from the environment, then serve."""

import argparse
import os
import sys
from collections.abc import Sequence

from local.lambda_host.gateway.http_gateway import GatewayOptions, HttpGateway
from shared.errors import ConfigurationError, ServiceUnavailable
from shared.logs import configure_logging
from shared.settings import Settings, load_settings

FAILURE_EXIT_CODE = 1
CONFIGURATION_EXIT_CODE = 2


def main(arguments: Sequence[str]) -> int:
    """Run the gateway; return its exit code."""
    try:
        settings = load_settings()
        options = _parse(arguments, settings)
        configure_logging("lambda_host", settings.log_level)
        gateway = HttpGateway(settings, options, os.environ)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return CONFIGURATION_EXIT_CODE
    except ServiceUnavailable as error:
        sys.stderr.write(f"{error}\n")
        return FAILURE_EXIT_CODE
    gateway.run()
    return 0


def _parse(arguments: Sequence[str], settings: Settings) -> GatewayOptions:
    defaults = GatewayOptions()
    parser = argparse.ArgumentParser("python -m local.lambda_host.gateway", description=__doc__)
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
