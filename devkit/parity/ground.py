"""Both runtimes at once, on servers of their own and with limits of seconds."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from devkit.environment import adopt, without_aws
from devkit.runtimes import RUNTIMES, RuntimeProcess
from devkit.stack import EmbeddedStack
from shared.errors import ConfigurationError, ServiceUnavailable
from shared.jobs.migration import migrate
from shared.logs import configure_logging
from shared.settings import Settings
from shared.wiring import Services, build_services

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

SLOTS = 2


@dataclass(frozen=True, slots=True)
class Ground:
    """Both runtimes, taking jobs.

    Attributes:
        services: By runtime.
    """

    services: Mapping[str, Services]
    runtimes: tuple[RuntimeProcess, ...]

    def check(self) -> None:
        """Raise ServiceUnavailable once a runtime has ended."""
        for runtime in self.runtimes:
            if not runtime.is_running:
                raise ServiceUnavailable(
                    f"the {runtime.name} runtime has ended: {runtime.last_log_line()}"
                )


@contextmanager
def both_runtimes() -> Iterator[Ground]:
    """Start both, each with a database, a Redis database and an image store of its own.

    No setting of the environment counts, and this process forgets them all.

    Raises:
        ConfigurationError: This machine lacks something.
        ServiceUnavailable: A server or a runtime did not come up.
    """
    with ExitStack() as undo:
        adopt(_without_settings(without_aws(os.environ)))
        stack = undo.enter_context(EmbeddedStack({}, with_sqs=True))
        log = undo.enter_context((stack.folder / "client.log").open("a"))
        configure_logging("client", "WARNING", log)
        # For the SQS client of this process.
        adopt({**os.environ, **_without_settings(stack.environment)})
        services, runtimes = {}, []
        for number, name in enumerate(RUNTIMES):
            environment = {**LIMITS, **_addresses(stack, name, number)}
            settings = _settings_of(environment)
            migrate(settings.database_url)
            services[name] = undo.enter_context(build_services(settings))
            log_path = stack.folder / f"{name}.log"
            runtime = RuntimeProcess(name, {**os.environ, **environment}, log_path, SLOTS)
            undo.callback(runtime.kill)
            runtime.launch()
            runtimes.append(runtime)
        for runtime in runtimes:
            runtime.wait_until_ready()
        yield Ground(services, tuple(runtimes))


def _addresses(stack: EmbeddedStack, runtime_name: str, redis_database: int) -> dict[str, str]:
    if stack.postgres is None or stack.redis is None:
        raise ConfigurationError("parity needs embedded servers")
    addresses = {
        "DATABASE_URL": stack.postgres.create_database(f"parity_{runtime_name}"),
        "REDIS_URL": f"{stack.redis.url}?db={redis_database}",
        "IMAGE_DIR": str(stack.folder / f"images-{runtime_name}"),
        # What a runtime may leave goes with the folder.
        "TMPDIR": str(stack.folder),
    }
    if runtime_name == "lambda":
        addresses["QUEUE_URL"] = stack.environment["QUEUE_URL"]
    return addresses


def _without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    ours = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in environment.items() if name.upper() not in ours}


def _settings_of(environment: Mapping[str, str]) -> Settings:
    values: dict[str, Any] = {name.lower(): value for name, value in environment.items()}
    return Settings(**values)
