"""PgBouncer in front of PostgreSQL: what `darkroom doctor` says of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.compose import PATIENCE_SECONDS, Compose, run
from tests.support.wait import wait_until

DOCKERFILE = "tests/docker/pgbouncer.Dockerfile"
ALIAS, PORT = "pgbouncer", 6432

INI = """
[databases]
darkroom = host=postgres user=darkroom password={password}
[pgbouncer]
listen_addr = *
listen_port = {port}
auth_type = any
pool_mode = {mode}
"""


@pytest.fixture(scope="module")
def image(layers: None) -> Iterator[str]:
    """Give an image of PgBouncer."""
    name = "darkroom-pgbouncer:test"
    run(["docker", "build", "--file", DOCKERFILE, "--tag", name, "tests/docker"])
    yield name
    run(["docker", "image", "rm", "--force", "--no-prune", name])


@contextmanager
def pooling(compose: Compose, image: str, mode: str) -> Iterator[str]:
    """Run PgBouncer before the project's PostgreSQL; yield its address there."""
    password = compose.exec("postgres", "cat", "/run/secrets/database_password")
    ini = INI.format(password=password, port=PORT, mode=mode)
    place = ("--network", compose.network, "--network-alias", ALIAS)
    container = run(["docker", "run", "--detach", *place, "--env", f"INI={ini}", image]).strip()
    try:
        yield f"postgresql://darkroom@{ALIAS}:{PORT}/darkroom"
    finally:
        run(["docker", "rm", "--force", "--volumes", container])


@pytest.mark.parametrize(("mode", "state"), [("transaction", "broken"), ("session", "holds")])
def test_the_doctor_knows_what_a_pooler_shares(
    compose: Compose, image: str, mode: str, state: str
) -> None:
    """A pooler of transactions keeps no limit of a connection; one of sessions keeps them all."""
    with pooling(compose, image, mode) as address:

        def finding() -> str | None:
            doctor = f"env DATABASE_URL={address} darkroom doctor --json || true"
            report = json.loads(compose.exec("worker", "sh", "-c", doctor))
            [rule] = [one for one in report["rules"] if one["name"] == "postgresql-sessions"]
            return None if rule["state"] == "not checked" else str(rule["state"])

        assert wait_until(finding, PATIENCE_SECONDS, "PgBouncer to answer") == state
