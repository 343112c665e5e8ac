"""Runs a job with the client that openapi-python-client generates."""

import os
from uuid import UUID

from darkroom_client import AuthenticatedClient
from darkroom_client.api.assets import delete_asset
from darkroom_client.api.generations import create_generation, get_generation
from darkroom_client.models import ImageOrder, JobBody, JobStatus, ProblemBody, ProblemCode


def main() -> None:
    """Submit a job, wait for its end, and have a request refused."""
    client = AuthenticatedClient(os.environ["API_URL"], os.environ["API_KEY"], timeout=None)
    job = create_generation.sync(client=client, body=ImageOrder(prompt="A ceramic mug"))
    assert isinstance(job, JobBody), job
    done = get_generation.sync(job.id, client=client, prefer="wait=20")
    assert isinstance(done, JobBody), done
    assert done.status is JobStatus.COMPLETED
    assert len(done.images) == 1
    refused = delete_asset.sync(UUID(int=1), client=client)
    assert isinstance(refused, ProblemBody), refused
    assert refused.code is ProblemCode.NOT_FOUND
    print(done.message)


if __name__ == "__main__":
    main()
