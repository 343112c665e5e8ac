"""Servers, one runtime and its API: what `demo` and `up` stand on."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from devkit.environment import adopt, without_aws
from devkit.runtimes import ApiProcess, RuntimeProcess
from devkit.stack import EmbeddedStack
from shared.errors import ConfigurationError, ServiceUnavailable
from shared.jobs.migration import migrate
from shared.logs import configure_logging
from shared.secret_files import take_secrets
from shared.settings import Settings, load_settings
from shared.wiring import build_services

_STARTED_HERE = {"DATABASE_URL": "postgresql://127.0.0.1/", "REDIS_URL": "redis://127.0.0.1/"}
"""Stand for the addresses of servers that will be started, while the settings are checked."""


@dataclass(frozen=True, slots=True)
class Running:
    """A runtime that takes jobs, over HTTP too.

    Attributes:
        environment: The settings that lead another process to the same servers.
        folder: Private, and deleted in the end.
    """

    settings: Settings
    runtime: RuntimeProcess
    api: ApiProcess
    environment: Mapping[str, str]
    folder: Path

    @property
    def url(self) -> str:
        """Where the API is reached from this machine."""
        lines = self.api.log_path.read_text(errors="replace").splitlines()
        ready = next(line for line in lines if '"event": "api ready"' in line)
        address = str(json.loads(ready)["address"])
        return address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")

    def check(self) -> None:
        """Raise ServiceUnavailable, with its last line, once the runtime or the API has ended."""
        if not self.runtime.is_running:
            raise ServiceUnavailable(
                f"the {self.runtime.name} runtime has ended: {self.runtime.last_log_line()}"
            )
        if not self.api.is_running:
            raise ServiceUnavailable(f"the {self.api.name} has ended: {self.api.last_log_line()}")


@contextmanager
def running(
    runtime_name: str, given: Mapping[str, str], say: Callable[[str], None]
) -> Iterator[Running]:
    """Start what is not given, the runtime and its API; stop it all at the end of the body.

    This process takes on the settings of the runtime, and its logs go to the runtime's.

    Args:
        runtime_name: `celery` or `lambda`.
        given: The environment, with API_HOST and API_PORT.
        say: Told what is being done, for the person who waits.

    Raises:
        ConfigurationError: A setting is wrong, or this machine lacks something.
        ServiceUnavailable: A server, the runtime or the API did not come up.
    """
    with ExitStack() as undo:
        given = with_addresses(without_aws(given))
        _check_settings(given)
        adopt(given)
        say("Starting the servers")
        stack = undo.enter_context(EmbeddedStack(given, with_sqs=runtime_name == "lambda"))
        environment = {**stack.environment, "IMAGE_DIR": str(_image_dir(given, stack))}
        adopt({**given, **environment})
        settings = load_settings()
        log_path = stack.folder / "runtime.log"
        configure_logging("client", "WARNING", undo.enter_context(log_path.open("a")))
        migrate(settings.database_url)
        _check_redis(settings)
        say(f"Starting the {runtime_name} runtime")
        process_environment = _process_environment(settings, stack.folder)
        runtime = RuntimeProcess(runtime_name, process_environment, log_path)
        api = ApiProcess(runtime_name, process_environment, stack.folder / "api.log")
        for process in (runtime, api):
            # Jobs of servers that are about to be deleted are not worth an orderly end.
            undo.callback(process.kill if stack.postgres and stack.redis else process.stop)
        undo.callback(say, "Stopping")
        for process in (runtime, api):
            process.launch()
        for process in (runtime, api):
            process.wait_until_ready()
        yield Running(settings, runtime, api, environment, stack.folder)


def with_addresses(given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the address that a file holds, as if REDIS_URL were set to it.

    Where docker-compose.yml is used as well, files may be named that say nothing of the servers
    here: an empty one is left out, and so is a password where there is no DATABASE_URL that it
    would go with.

    Raises:
        ConfigurationError: REDIS_URL is given twice, or its file cannot be read.
    """
    names = {name: given.get(name.upper()) for name in ("redis_url", "redis_url_file")}
    try:
        address = take_secrets(names, names)["redis_url"]
    except ValueError as error:
        raise ConfigurationError(f"settings: {error}") from error
    done = ["REDIS_URL_FILE"]
    if not given.get("DATABASE_URL"):
        done.append("DATABASE_PASSWORD_FILE")
    kept = {name: value for name, value in given.items() if name not in done}
    return {**kept, "REDIS_URL": address} if address else kept


def _check_settings(given: Mapping[str, str]) -> None:
    """Find out what is wrong before anything is started: a runtime would only log it."""
    missing = {name: address for name, address in _STARTED_HERE.items() if not given.get(name)}
    adopt({**given, **missing})
    settings = load_settings()
    settings.provider.connect(settings)


def _image_dir(given: Mapping[str, str], stack: EmbeddedStack) -> Path:
    """Return where images are kept: as long as their rows, unless IMAGE_DIR says where."""
    if given.get("IMAGE_DIR"):
        return Path(given["IMAGE_DIR"]).resolve()
    return stack.folder / "images" if stack.postgres else Path("images").resolve()


def _process_environment(settings: Settings, folder: Path) -> dict[str, str]:
    """Return what the runtime and the API run in.

    Temporary files that they may leave go with the folder, and they must be free to log that
    they are ready.
    """
    level = settings.log_level if settings.log_level == "DEBUG" else "INFO"
    return {**os.environ, "TMPDIR": str(folder), "LOG_LEVEL": level}


def _check_redis(settings: Settings) -> None:
    """Find out now: a worker would wait for Redis as long as it takes."""
    with build_services(settings) as services:
        services.check_redis()
