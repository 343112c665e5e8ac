"""Both runtimes at once, on servers of their own and with limits of seconds."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from devkit.environment import adopted, without_aws
from devkit.harness import Harness, harness
from devkit.runtimes import RUNTIMES
from devkit.stack import StackOptions
from shared.errors import ConfigurationError
from shared.settings import Settings
from shared.wiring import Services

LIMITS = {
    "MOCK_STEP_SECONDS": "0.05",
    "SOFT_TIME_LIMIT": "3",
    "TIME_LIMIT": "5",
    # Far from TIME_LIMIT: a lease that runs up to it means that the limit was reached.
    "LEASE_SECONDS": "1.2",
    "SWEEP_SECONDS": "0.4",
    # No backoff: its jitter differs between any two runs. Retry-After is waited for all the same.
    "RETRY_BACKOFF": "0",
}


@contextmanager
def both_runtimes() -> Iterator[tuple[Harness, Mapping[str, Services]]]:
    """Start both, each with a database, a Redis database and an image store of its own.

    Yields the services by runtime. No setting of the environment counts.

    Raises:
        ConfigurationError: This machine lacks something.
        ServiceUnavailable: A server or a runtime did not come up.
    """
    ours = {name.upper() for name in Settings.model_fields}
    given = {name: value for name, value in os.environ.items() if name.upper() not in ours}
    with adopted(without_aws(given)), harness(StackOptions(with_sqs=True)) as ground:
        ground.log_to_folder()
        services = {}
        for number, name in enumerate(RUNTIMES):
            environment = ground.environment(**LIMITS, **_addresses(ground, name, number))
            services[name] = ground.open_services(environment)
            ground.add_runtime(name, environment)
        ground.start()
        yield ground, services


def _addresses(ground: Harness, runtime_name: str, redis_database: int) -> dict[str, str]:
    stack = ground.stack
    if stack.postgres is None or stack.redis is None:
        raise ConfigurationError("parity needs embedded servers")
    return {
        "DATABASE_URL": stack.postgres.create_database(f"parity_{runtime_name}"),
        "REDIS_URL": f"{stack.redis.url}?db={redis_database}",
        "IMAGE_DIR": str(ground.folder / f"images-{runtime_name}"),
        "QUEUE_URL": stack.environment["QUEUE_URL"] if runtime_name == "lambda" else "",
    }
