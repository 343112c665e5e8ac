"""One runtime and its API on given or embedded servers: what `demo` and `up` run."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devkit.environment import adopted, without_aws
from devkit.harness import Harness, harness
from devkit.runtimes import ApiProcess, RuntimeProcess
from devkit.stack import Stack, StackOptions
from shared.errors import ConfigurationError
from shared.extras import require
from shared.secret_files import take_secrets
from shared.settings import Settings, load_settings

_STARTED_HERE = {"DATABASE_URL": "postgresql://127.0.0.1/", "REDIS_URL": "redis://127.0.0.1/"}
"""Stand for the addresses of servers that will be started, while the settings are checked."""


@dataclass(frozen=True, slots=True)
class Running:
    """A runtime that takes jobs, over HTTP too.

    Attributes:
        environment: The settings that lead another process to the same servers.
    """

    harness: Harness
    settings: Settings
    runtime: RuntimeProcess
    api: ApiProcess
    environment: Mapping[str, str]


@contextmanager
def running(
    runtime_name: str,
    given: Mapping[str, str],
    say: Callable[[str], None],
    data: Path | None = None,
) -> Iterator[Running]:
    """Start what is not given, the runtime and its API; stop it all at the end of the body.

    Args:
        runtime_name: `celery` or `lambda`.
        given: The environment, with API_HOST and API_PORT.
        say: Called with what is being done, for the person who waits.
        data: The folder that keeps the data of embedded servers; None deletes it in the end.

    Raises:
        ConfigurationError: A setting is wrong, or this machine lacks something.
        ServiceUnavailable: A server, the runtime or the API did not come up.
    """
    if runtime_name == "lambda":
        require("boto3", "mangum", "awslambdaric")
    given = with_addresses(without_aws(given))
    _check_settings(given)
    options = StackOptions(with_sqs=runtime_name == "lambda", data=data)
    say("Starting the servers")
    with adopted(given), harness(options, given) as ground:
        ground.log_to_folder()
        image_dir = _image_dir(given, ground.stack, data)
        servers = {**ground.stack.environment, "IMAGE_DIR": str(image_dir)}
        services = ground.open_services(ground.environment(**servers))
        say(f"Starting the {runtime_name} runtime")
        # The processes must be free to log that they are ready.
        level = "DEBUG" if services.settings.log_level == "DEBUG" else "INFO"
        environment = ground.environment(**servers, LOG_LEVEL=level)
        runtime = ground.add(
            RuntimeProcess(runtime_name, environment, ground.folder / "runtime.log")
        )
        api = ground.add(ApiProcess(runtime_name, environment, ground.folder / "api.log"))
        try:
            ground.start()
            yield Running(ground, services.settings, runtime, api, servers)
        finally:
            say("Stopping")


def with_addresses(given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the address in REDIS_URL_FILE as its REDIS_URL.

    A user of docker-compose.yml may name files that do not concern the servers here: an empty one
    is left out, and so is a password without a DATABASE_URL that it belongs to.

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
    with adopted({**given, **missing}):
        settings = load_settings()
        for provider in settings.providers:
            provider.connect(settings)


def _image_dir(given: Mapping[str, str], stack: Stack, data: Path | None) -> Path:
    """Return where images are kept: as long as their rows, unless IMAGE_DIR says where."""
    if given.get("IMAGE_DIR"):
        return Path(given["IMAGE_DIR"]).resolve()
    if stack.postgres is None:
        return Path("images").resolve()
    return (data.resolve() if data else stack.folder) / "images"
