"""Lets the children of a Celery worker share memory with their parent.

A page that a child writes to is copied for it alone. So the code of a job is imported before the
first fork, and the garbage collector, which writes to each object that it looks at, leaves alone
what exists by then.
"""

import ctypes
import gc
from contextlib import closing, suppress
from importlib import import_module

import structlog
from billiard.util import get_pdeathsig
from PIL import Image

from shared.adapters.celery_queue import CeleryDispatcher
from shared.deadline import MainThreadInterrupt
from shared.errors import ServiceUnavailable, StorageUnavailable
from shared.generation.handler import RuntimeTraits
from shared.settings import Settings
from shared.wiring import Services

log = structlog.get_logger(__name__)

_IMPORTED_AT_FIRST_USE = (
    "encodings.idna",
    "psycopg2.extras",
    "shared.imaging.mock_print",
    "shared.imaging.request",
)

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""glibc, malloc.h."""

_BLOCK_BYTES = 128 * 1024
"""glibc's default for both thresholds, which rise with the blocks that are freed unless set."""

_ARENAS = 2


def load_job_code(settings: Settings) -> None:
    """Import what a job needs, and make once what needs no connection of its own.

    Raises:
        ConfigurationError: A setting is wrong, what it needs is not installed, or Redis is in
            cluster mode.
    """
    for name in _IMPORTED_AT_FIRST_USE:
        import_module(name)
    Image.init()
    with Services(settings, runtime="celery", is_pooled=False) as services:
        services.refuse_cluster_mode()
        _warn_of_others(settings)
        services.build_handler(RuntimeTraits((), lambda: False), MainThreadInterrupt())
        with suppress(StorageUnavailable):
            # Reads botocore's description of S3, which would take 16 MB in each child.
            _ = services.image_store.origin
    with suppress(OSError):
        # Where cffi is installed, billiard parses C with it before a child's first job: 9 MB.
        get_pdeathsig()


def _warn_of_others(settings: Settings) -> None:
    """Say it where tasks of another application wait on our queues; they are left to it."""
    with closing(CeleryDispatcher(settings)) as dispatcher, suppress(ServiceUnavailable):
        for found in dispatcher.find_others(asks_workers=False):
            log.warning("another application uses our queues", found=found)


def freeze() -> None:
    """Keep what exists now out of garbage collection, here and in every child."""
    _return_large_blocks()
    gc.collect()
    gc.freeze()


def _return_large_blocks() -> None:
    """Have each large block, such as a picture, go back to the system when it is freed."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return  # not glibc
    mallopt(_MMAP_THRESHOLD, _BLOCK_BYTES)
    mallopt(_TRIM_THRESHOLD, _BLOCK_BYTES)
    mallopt(_ARENA_MAX, _ARENAS)
