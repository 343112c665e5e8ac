"""A process with many HTTP clients that do harm: they hold connections, drip bytes, or do not read.

The first line of its input is JSON, see `Crowd`. Prints one line of JSON once each client has
connected and sent, and one more when its input ends: answers by their status, and what broke.
"""

import asyncio
import contextlib
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass, field

import uvloop

AT_ONCE = 50
ANSWER_SECONDS = 60.0
_RETRY = re.compile(rb"retry: ([0-9]+)\n")


@dataclass
class Crowd:
    """So many clients of one server.

    Attributes:
        requests: The bytes of each client, in turn, as text of Latin-1.
        answered: Whether a client counts as ready only when its answer has begun. What follows is
            not read by those that never come again.
        drip_seconds: Between two bytes of those that send more, and never enough; 0 for none.
        reopen_seconds: After how long one comes again that has read all, or was disconnected; 0
            for never.
    """

    port: int
    count: int
    requests: list[str]
    answered: bool = False
    drip_seconds: float = 0.0
    reopen_seconds: float = 0.0
    seen: Counter[str] = field(default_factory=Counter, init=False)

    async def play(self) -> None:
        """Open all, report, hold all until the input ends, and report again."""
        room = asyncio.Semaphore(AT_ONCE)
        are_ready = [asyncio.Event() for _ in range(self.count)]
        clients = [
            asyncio.create_task(self._be_client(number, room, is_ready))
            for number, is_ready in enumerate(are_ready)
        ]
        for is_ready in are_ready:
            await is_ready.wait()
        print(json.dumps(self.seen), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        print(json.dumps(self.seen), flush=True)

    async def _be_client(
        self, number: int, room: asyncio.Semaphore, is_ready: asyncio.Event
    ) -> None:
        request = self.requests[number % len(self.requests)].encode("latin-1")
        while True:
            try:
                async with room:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.write(request)
                    if self.answered:
                        await self._note_answer(reader)
                    is_ready.set()
                pause_seconds = await self._hold(reader, writer)
            except OSError as error:
                self.seen[type(error).__name__] += 1
                pause_seconds = self.reopen_seconds
            is_ready.set()
            if not pause_seconds:
                return
            await asyncio.sleep(pause_seconds)

    async def _note_answer(self, reader: asyncio.StreamReader) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                line = await reader.readline()
        except TimeoutError:
            self.seen["no answer"] += 1
        else:
            self.seen[line[9:12].decode() or "closed"] += 1

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> float:
        """Return after how many seconds to come again: as the answer says, as an EventSource."""
        pause_seconds = self.reopen_seconds
        with contextlib.closing(writer):
            while self.drip_seconds and not reader.at_eof():
                await asyncio.sleep(self.drip_seconds)
                writer.write(b"a")
                await writer.drain()
            while self.reopen_seconds and (data := await reader.read(65_536)):
                for milliseconds in _RETRY.findall(data):
                    pause_seconds = int(milliseconds) / 1000
            # Nothing more is read, up to the buffers of the system and of asyncio.
            while not self.reopen_seconds:
                await asyncio.sleep(1)
        return pause_seconds


if __name__ == "__main__":
    uvloop.run(Crowd(**json.loads(sys.stdin.readline())).play())
