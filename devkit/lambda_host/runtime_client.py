"""Runs AWS's runtime client with a Runtime API that has a key.

`python -m devkit.lambda_host.runtime_client <handler>` does what `python -m awslambdaric` does.
AWS_LAMBDA_RUNTIME_API holds the key behind the port. awslambdaric makes its addresses of the whole
text, except where it reports that a handler cannot be loaded.
"""

import sys
from typing import Any

from awslambdaric import bootstrap
from awslambdaric.lambda_config import LambdaConfigProvider
from awslambdaric.lambda_runtime_client import LambdaRuntimeClient


class KeyedRuntimeClient(LambdaRuntimeClient):  # type: ignore[misc] # it has no types
    """Sends the key with every request."""

    def __init__(self, address: str, use_thread: bool) -> None:
        host, _, self._key = address.partition("/")
        super().__init__(host, use_thread)

    def call_rapid(self, method: str, path: str, *more: Any, **options: Any) -> None:
        """Send a request to the Runtime API; called by awslambdaric."""
        super().call_rapid(method, f"/{self._key}{path}", *more, **options)


if __name__ == "__main__":
    config = LambdaConfigProvider(sys.argv)
    client = KeyedRuntimeClient(config.api_address, config.use_thread_polling)
    bootstrap.run(config.handler, client)
