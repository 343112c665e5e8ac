"""The measure of submissions: a bare FastAPI route with the same insert and the same dispatch.

Fixed in writing, so that ratios stay comparable: a sync route, which FastAPI runs in its thread
pool; SQLAlchemy Core with a pool that is large enough; Celery's send_task without a result
backend; uvicorn with the same event loop and parser. No API key, no limit, no event, no log, no
signed addresses.
"""

import os
from typing import Any
from uuid import uuid4

import uvicorn
from celery import Celery
from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import create_engine, func, insert

from local.web.server import server_config
from shared.adapters.celery_broker import JOB_QUEUE, TASK_NAME, broker_url
from shared.jobs.tables import GenerationJob
from shared.settings import load_settings

CONNECTIONS = 16

settings = load_settings()
app = FastAPI()
engine = create_engine(settings.database_url, pool_size=CONNECTIONS)
producer = Celery("bare", broker=broker_url(settings.redis_url))
producer.conf.task_ignore_result = True
jobs: Any = GenerationJob.__table__


class Order(BaseModel):
    """What a client asks for."""

    prompt: str
    style: str = "studio"
    size: str = "1024x1024"
    n: int = 1
    seed: int = 1


@app.post("/v1/generations", status_code=202)
def submit(order: Order) -> dict[str, Any]:
    """Write a row and send its message."""
    job_id, task_id = uuid4(), str(uuid4())
    with engine.begin() as connection:
        connection.execute(
            insert(jobs).values(
                id=job_id,
                task_id=task_id,
                workspace_id="default",
                params=order.model_dump(),
                max_attempts=3,
                message="Queued",
                dispatched_at=func.now(),
                dispatches=1,
            )
        )
    producer.send_task(TASK_NAME, args=[str(job_id)], task_id=task_id, queue=JOB_QUEUE)
    return {"id": str(job_id), "task_id": task_id, "status": "pending"}


if __name__ == "__main__":
    uvicorn.Server(server_config(app, host="127.0.0.1", port=int(os.environ["API_PORT"]))).run()
