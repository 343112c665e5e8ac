"""A process that submits jobs over connections that stay open, each as fast as it is answered.

Its input is one line of JSON: `{"port": ..., "key": ..., "connections": ..., "seconds": ...}`.
Prints how many were accepted after the warm-up, in how many seconds, and then the milliseconds
of each.
"""

import asyncio
import gc
import json
import sys
import time

import uvloop

WARM_UP_SECONDS = 1.0

_BODY = json.dumps(
    {"prompt": "a red mug", "style": "minimal", "size": "256x256", "n": 1, "seed": 7}
).encode()


class _Client(asyncio.Protocol):
    """One connection: sends the next request when the last is answered."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._rest = b""
        self._sent_at = 0.0
        self.transport: asyncio.Transport | None = None
        self.answered: list[tuple[float, float]] = []
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def connect(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_connection(lambda: self, "127.0.0.1", port)

    def send(self) -> None:
        self._sent_at = time.monotonic()
        if self.transport is not None:
            self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        head, separator, body = self._rest.partition(b"\r\n\r\n")
        if not separator or len(body) < _length_of(head):
            return
        if not head.startswith(b"HTTP/1.1 202") and not self.failed.done():
            self.failed.set_exception(ConnectionError(self._rest[:400].decode()))
            return
        self._rest = b""
        now = time.monotonic()
        self.answered.append((self._sent_at, now))
        self.send()


def _length_of(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0])


def _request_of(key: str) -> bytes:
    head = (
        "POST /v1/generations HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(_BODY)}\r\n\r\n"
    )
    return head.encode() + _BODY


async def _submit() -> None:
    wanted = json.loads(sys.stdin.readline())
    request = _request_of(wanted["key"])
    clients = [_Client(request) for _ in range(wanted["connections"])]
    for client in clients:
        await client.connect(wanted["port"])
    gc.disable()
    begin = time.monotonic() + WARM_UP_SECONDS
    for client in clients:
        client.send()
    failures = [client.failed for client in clients]
    await asyncio.wait(
        failures, timeout=WARM_UP_SECONDS + wanted["seconds"], return_when="FIRST_COMPLETED"
    )
    end = time.monotonic()
    for failure in failures:
        if failure.done():
            failure.result()
    answered = [pair for client in clients for pair in client.answered if pair[0] >= begin]
    print(len(answered), end - begin)
    for sent, came in answered:
        print((came - sent) * 1000)


if __name__ == "__main__":
    uvloop.run(_submit())
