"""`python -m devkit.lambda_host`: settings from the environment, then serve."""

import argparse
import os
import sys
from collections.abc import Sequence

from devkit.lambda_host.host import HostOptions, LambdaHost
from local.web.service import run_service


def main(arguments: Sequence[str]) -> int:
    """Run the host; return its exit code."""
    options = _parse(arguments)
    return run_service("lambda_host", lambda settings: LambdaHost(settings, options, os.environ))


def _parse(arguments: Sequence[str]) -> HostOptions:
    defaults = HostOptions()
    parser = argparse.ArgumentParser("python -m devkit.lambda_host", description=__doc__)
    parser.add_argument("--concurrency", type=int, default=defaults.concurrency)
    parser.add_argument("--worker", default=defaults.worker, metavar="HANDLER")
    parser.add_argument("--reaper", default=defaults.reaper, metavar="HANDLER")
    parser.add_argument("--no-freeze", action="store_true", help="let idle processes run on")
    parsed = parser.parse_args(arguments)
    if parsed.concurrency < 1:
        parser.error("--concurrency must be at least 1")
    return HostOptions(parsed.concurrency, parsed.worker, parsed.reaper, not parsed.no_freeze)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
