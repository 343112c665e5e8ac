"""How uvicorn is set up."""

import os
import subprocess
import sys

from local.web.server import server_config

LONGEST_OF_CLIENTS_SECONDS = 60
"""An AWS load balancer's; httpx has 5 s."""


def test_idle_connection_is_kept_longer_than_clients_keep_it() -> None:
    """Or a request that comes in the moment of the end is answered by a reset."""
    assert server_config(None).timeout_keep_alive > LONGEST_OF_CLIENTS_SECONDS


def test_an_api_that_must_sign_addresses_does_not_start_without_a_key() -> None:
    """One line says so; a worker, which signs nothing, needs none."""
    settings = {
        "DATABASE_URL": "postgresql://nowhere/none",
        "REDIS_URL": "redis://nowhere",
        "ENVIRONMENT": "staging",
        "AI_MOCK_MODE": "true",
        "API_PORT": "0",
    }
    done = subprocess.run(
        [sys.executable, "-m", "local.api"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (
        2,
        "settings: SIGNING_KEY of at least 32 bytes must be set where API keys are required\n",
    )
