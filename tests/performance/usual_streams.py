"""The measure of event streams: what a good developer writes with sse-starlette.

Fixed in writing, so that ratios stay comparable: FastAPI's route, sse-starlette's response, one
pub/sub connection for each client, uvicorn with the same event loop and parser. No ids, no
history, no look at the row, no limit, no last word of a job that ended unheard.
"""

import os
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI
from redis.asyncio import Redis
from sse_starlette.sse import EventSourceResponse

from local.web.server import server_config
from shared.events.keys import unprefixed as keys

CONNECTIONS_MAX = 10_000

app = FastAPI()
redis: Redis = Redis.from_url(
    os.environ["REDIS_URL"], decode_responses=True, max_connections=CONNECTIONS_MAX
)


@app.get("/events/{task_id}")
async def follow(task_id: str) -> EventSourceResponse:
    """Send every message of the job's channel."""
    return EventSourceResponse(_messages(task_id))


async def _messages(task_id: str) -> AsyncIterator[dict[str, str]]:
    async with redis.pubsub() as pubsub:
        await pubsub.subscribe(keys.channel(task_id))
        async for message in pubsub.listen():
            if message["type"] == "message":
                yield {"data": message["data"]}


if __name__ == "__main__":
    uvicorn.Server(server_config(app, host="127.0.0.1", port=int(os.environ["API_PORT"]))).run()
