"""A handler that the Lambda host runs in its tests: its process takes seconds to start."""

import time

from tests.support.lambda_functions import serve_http

__all__ = ["serve_http"]

time.sleep(2.0)
