"""The Celery application of a shop, on Darkroom's Redis; its task notes that it ran."""

import os

from celery import Celery
from redis import Redis

from shared.adapters.celery_broker import broker_url

DONE = "shop:done"

app = Celery("shop", broker=broker_url(os.environ["REDIS_URL"]))
app.conf.update(task_default_queue="default", broker_connection_retry_on_startup=True)


@app.task(name="shop.note")  # type: ignore[untyped-decorator] # Celery has no types
def note(number: int) -> None:
    """Note that the task ran."""
    with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        redis.rpush(DONE, number)
