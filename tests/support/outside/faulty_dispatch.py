"""The provider `stencil`, in processes whose first envelope cannot be sent, for no known reason."""

import os
import sys
from typing import Any

from stencil import PROVIDER  # type: ignore[import-not-found]

from shared.adapters.celery_queue import CeleryDispatcher
from shared.adapters.sqs_queue import SqsDispatcher

__all__ = ["PROVIDER"]

FAULT = "Can't shrink pool when in use"
"""What kombu said once (kombu/resource.py, `Resource.resize`)."""

_failed: set[int] = set()


def _fail_once(dispatcher: Any) -> None:
    right = dispatcher.dispatch

    def dispatch(self: Any, *arguments: Any) -> None:
        if os.getpid() not in _failed:
            _failed.add(os.getpid())
            raise RuntimeError(FAULT)
        right(self, *arguments)

    dispatcher.dispatch = dispatch


# The process of the tests imports this, too.
if "pytest" not in sys.modules:
    _fail_once(CeleryDispatcher)
    _fail_once(SqsDispatcher)
