"""What every route uses: the services, the delivery of events, and threads for blocking calls."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, ParamSpec, TypeVar

from fastapi import Depends, Request

from shared.api.delivery import EventDelivery
from shared.api.presenter import Presenter
from shared.wiring import Services

P = ParamSpec("P")
R = TypeVar("R")


class Threads:
    """Runs blocking calls (PostgreSQL, Redis, the queue, the disk) beside the event loop."""

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="api")

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the work in a free thread and return its result."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(work, *args, **kwargs))


class ApiContext:
    """Everything that a route may use; one for each application."""

    def __init__(self, services: Services, delivery: EventDelivery, threads: Threads) -> None:
        self.services = services
        self.settings = services.settings
        self.delivery = delivery
        self.run = threads.run
        self.presenter = Presenter(services.settings)
        # One at a time: a picture of 50 million pixels takes half a gigabyte to decode.
        self.uploading = asyncio.Semaphore(1)


async def get_context(request: Request) -> ApiContext:
    """Return the context of the application that a request is for (a dependency of routes)."""
    context: ApiContext = request.app.state.context
    return context


Context = Annotated[ApiContext, Depends(get_context)]
