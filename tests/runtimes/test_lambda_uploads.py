"""What only sandboxes must promise: uploads of one workspace leave some of them to others."""

import time

import httpx

from shared.access.stream_slots import UPLOADS, slots_key
from tests.support.api import OTHER_WORKSPACE
from tests.support.images_api import png
from tests.support.runtime import Runtime

UPLOADS_OF_TWENTY = 5
PICTURE = {"content": png(9, 9), "headers": {"Content-Type": "image/png"}}


def upload(client: httpx.Client) -> httpx.Response:
    """Upload a small picture."""
    return client.post("/v1/assets", **PICTURE)  # type: ignore[arg-type]


def test_uploads_of_one_workspace_take_a_quarter_of_the_sandboxes(lambda_runtime: Runtime) -> None:
    """One more is to come again; another workspace is served."""
    runtime, api = lambda_runtime, lambda_runtime.api
    key, until = slots_key("default", UPLOADS), time.time() + 600
    runtime.redis_client.zadd(key, {str(n): until for n in range(UPLOADS_OF_TWENTY)})
    runtime.redis_client.expire(key, 600)
    refused = upload(api.client)
    assert api.problem(refused) == (503, "too_many_uploads")
    assert int(refused.headers["retry-after"]) > 0
    with api.client_of(OTHER_WORKSPACE) as stranger:
        assert upload(stranger).status_code == 201
    runtime.redis_client.zrem(key, "0")
    for _ in range(2):
        assert upload(api.client).status_code == 201
    assert runtime.redis_client.zcard(key) == UPLOADS_OF_TWENTY - 1
