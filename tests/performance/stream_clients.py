"""A process that receives events and notes when, as HTTP clients or from Redis itself.

The first line of its input is JSON: `{"port": ..., "paths": [...]}` opens a stream for each
path, `{"redis_url": ..., "channels": [...]}` one subscriber to all of them. Says `open` when all
are, listens until its input ends, and then prints a line for each event that says when it was
published: that moment and the one it came, in nanoseconds of CLOCK_MONOTONIC, which is the same
clock in every process.
"""

import asyncio
import gc
import json
import re
import sys
import time
from array import array
from collections.abc import Sequence

import uvloop
from redis.asyncio import Redis

OPENED_AT_ONCE = 20
OPEN_SECONDS = 60.0
"""What all of them get to open."""

_STAMP = re.compile(rb'"message": "([0-9]+)"')
_stamps, _arrivals = array("q"), array("q")


def _note(data: bytes) -> None:
    now = time.monotonic_ns()
    for stamp in _STAMP.findall(data):
        _stamps.append(int(stamp))
        _arrivals.append(now)


class _Stream(asyncio.Protocol):
    """One client: notes when something comes."""

    def __init__(self, opened: "asyncio.Future[None]") -> None:
        self._opened: asyncio.Future[None] | None = opened

    def data_received(self, data: bytes) -> None:
        _note(data)
        if self._opened is not None:
            if data.startswith(b"HTTP/1.1 200"):
                self._opened.set_result(None)
            else:
                self._opened.set_exception(ConnectionError(data[:200].decode(errors="replace")))
            self._opened = None


async def _open_streams(port: int, paths: Sequence[str]) -> list[asyncio.Transport]:
    room = asyncio.Semaphore(OPENED_AT_ONCE)

    async def open_stream(path: str) -> asyncio.Transport:
        async with room:
            return await _open_stream(port, path)

    async with asyncio.timeout(OPEN_SECONDS):
        return list(await asyncio.gather(*map(open_stream, paths)))


async def _open_stream(port: int, path: str) -> asyncio.Transport:
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[None] = loop.create_future()
    transport, _ = await loop.create_connection(lambda: _Stream(opened), "127.0.0.1", port)
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
    transport.write(request.encode())
    await opened
    return transport


async def _subscribe(redis_url: str, channels: Sequence[str], opened: asyncio.Event) -> None:
    async with Redis.from_url(redis_url) as redis, redis.pubsub() as pubsub:
        await pubsub.subscribe(*channels)
        confirmed = 0
        async for message in pubsub.listen():
            if message["type"] == "message":
                _note(message["data"])
            else:
                confirmed += 1
                if confirmed == len(channels):
                    opened.set()


async def _listen() -> None:
    loop = asyncio.get_running_loop()
    wanted = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    subscriber, transports = None, list[asyncio.Transport]()
    if "paths" in wanted:
        transports = await _open_streams(wanted["port"], wanted["paths"])
    else:
        opened = asyncio.Event()
        subscriber = asyncio.create_task(
            _subscribe(wanted["redis_url"], wanted["channels"], opened)
        )
        await opened.wait()
    gc.disable()
    print("open", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    for transport in transports:
        transport.close()
    if subscriber is not None:
        subscriber.cancel()
    for stamp, arrival in zip(_stamps, _arrivals, strict=True):
        print(stamp, arrival)


if __name__ == "__main__":
    uvloop.run(_listen())
