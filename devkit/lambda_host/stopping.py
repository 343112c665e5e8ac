"""The signals that stop a host: the first asks for an orderly end, the second for a quick one."""

import asyncio
import signal
from collections.abc import Collection
from typing import Any


class StopSignals:
    """SIGTERM and SIGINT, from now on, in the running event loop.

    Attributes:
        asked: Set by the first signal.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._hurried = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)

    async def wait_for(self, work: "Collection[asyncio.Task[Any]]", seconds: float) -> bool:
        """Wait until all work is done or a second signal comes; return False if time runs out."""
        ends = (asyncio.create_task(asyncio.wait(work)), asyncio.create_task(self._hurried.wait()))
        done, _ = await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        return bool(done)

    def _on_signal(self) -> None:
        if self.asked.is_set():
            self._hurried.set()
        self.asked.set()
