"""What the API is made of: handed over by the entry point of each runtime."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ParamSpec, TypeVar

from fastapi import Depends, Request

from shared.access.api_keys import ApiKeyStore
from shared.api.delivery import EventDelivery
from shared.api.representation import Representer
from shared.generation.assets import AssetKeeper
from shared.generation.cancel import Canceller
from shared.generation.delete import Deleter
from shared.generation.submit import Submitter
from shared.imaging.store import ImageStore
from shared.jobs.store import JobStore
from shared.jobs.views import JobViews
from shared.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")


class Threads:
    """Runs what blocks (PostgreSQL, Redis, the queue, the disk) beside the event loop."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="api")

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the work in a free thread and return what it returns."""
        if kwargs:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, lambda: work(*args, **kwargs)
            )
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)


@dataclass(frozen=True)
class ApiParts:
    """Everything that a route may use.

    Attributes:
        checks: By the name of what the API needs: raises ServiceUnavailable while it is away.
    """

    settings: Settings
    keys: ApiKeyStore
    submitter: Submitter
    canceller: Canceller
    deleter: Deleter
    assets: AssetKeeper
    jobs: JobStore
    views: JobViews
    image_store: ImageStore
    delivery: EventDelivery
    threads: Threads
    checks: dict[str, Callable[[], None]]

    @cached_property
    def uploading(self) -> asyncio.Semaphore:
        """One at a time: a picture of 50 million pixels takes half a gigabyte to decode."""
        return asyncio.Semaphore(1)

    @cached_property
    def representer(self) -> Representer:
        """What shows jobs to clients."""
        return Representer(self.settings)


async def get_parts(request: Request) -> ApiParts:
    """Return the parts of the application that a request is for (a dependency of routes)."""
    parts: ApiParts = request.app.state.parts
    return parts


Parts = Annotated[ApiParts, Depends(get_parts)]
