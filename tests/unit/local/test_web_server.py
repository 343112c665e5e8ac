"""How uvicorn is set up."""

from local.web.server import server_config

LONGEST_OF_CLIENTS_SECONDS = 60
"""An AWS load balancer's; httpx has 5 s."""


def test_idle_connection_is_kept_longer_than_clients_keep_it() -> None:
    """Or a request that comes in the moment of the end is answered by a reset."""
    assert server_config(None).timeout_keep_alive > LONGEST_OF_CLIENTS_SECONDS
