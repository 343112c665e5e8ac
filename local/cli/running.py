"""Servers, one runtime and the services of this program: what `demo` and `up` stand on."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import RedisError

from local.cli.maintenance import migrate_database
from local.environment import adopt, without_aws
from local.runtimes import RuntimeProcess
from local.stack import EmbeddedStack
from shared.errors import ServiceUnavailable
from shared.logs import configure_logging
from shared.settings import load_settings
from shared.wiring import Services, build_provider, build_services


@dataclass(frozen=True, slots=True)
class Running:
    """A runtime that takes jobs.

    Attributes:
        environment: The settings that lead another process to the same servers.
        folder: Private, and deleted in the end.
    """

    services: Services
    runtime: RuntimeProcess
    environment: Mapping[str, str]
    folder: Path

    def check(self) -> None:
        """Raise ServiceUnavailable, with its last line, once the runtime has ended."""
        if not self.runtime.is_running:
            raise ServiceUnavailable(
                f"the {self.runtime.name} runtime has ended: {self.runtime.last_log_line()}"
            )


@contextmanager
def running(runtime_name: str, say: Callable[[str], None]) -> Iterator[Running]:
    """Start what is not given and the runtime; stop it all at the end of the body.

    This process takes on the settings of the runtime, and its logs go to the runtime's.

    Args:
        runtime_name: `celery` or `lambda`.
        say: Told what is being done, for the person who waits.

    Raises:
        ConfigurationError: A setting is wrong, or this machine lacks something.
        ServiceUnavailable: A server or the runtime did not come up.
    """
    with ExitStack() as undo:
        given = without_aws(os.environ)
        adopt(given)
        say("Starting the servers")
        stack = undo.enter_context(EmbeddedStack(given, with_sqs=runtime_name == "lambda"))
        environment = {**stack.environment, "IMAGE_DIR": str(_image_dir(given, stack))}
        adopt({**given, **environment})
        settings = load_settings()
        # Found out now: a runtime would only log it.
        build_provider(settings)
        log_path = stack.folder / "runtime.log"
        configure_logging("client", "WARNING", undo.enter_context(log_path.open("a")))
        migrate_database(settings.database_url)
        services = undo.enter_context(build_services(settings))
        _check_redis(services)
        say(f"Starting the {runtime_name} runtime")
        # Temporary files that a runtime may leave go with the folder.
        runtime_environment = {**os.environ, "TMPDIR": str(stack.folder)}
        runtime = RuntimeProcess(runtime_name, runtime_environment, log_path)
        # Jobs of servers that are about to be deleted are not worth an orderly end.
        undo.callback(runtime.kill if stack.postgres and stack.redis else runtime.stop)
        undo.callback(say, "Stopping")
        runtime.start()
        yield Running(services, runtime, environment, stack.folder)


def _image_dir(given: Mapping[str, str], stack: EmbeddedStack) -> Path:
    """Return where images are kept: as long as their rows, unless IMAGE_DIR says where."""
    if given.get("IMAGE_DIR"):
        return Path(given["IMAGE_DIR"]).resolve()
    return stack.folder / "images" if stack.postgres else Path("images").resolve()


def _check_redis(services: Services) -> None:
    """Find out now: a worker would wait for Redis as long as it takes."""
    try:
        services.redis.ping()
    except RedisError as error:
        raise ServiceUnavailable(f"Redis: {error}") from error
