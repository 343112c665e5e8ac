"""The servers a job needs, started from wheels for the length of a `with` block.

Nothing here is for production. Servers die with the thread that enters the block (see
`devkit.launch`), so enter it in the main thread, or in one that lives as long.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from devkit.child_process import stop_all
from devkit.stack.folder import data_folder, private_folder
from devkit.stack.postgres import EmbeddedPostgres
from devkit.stack.redis import EmbeddedRedis
from devkit.stack.server import EmbeddedServer
from devkit.stack.sqs import MAX_RECEIVE_COUNT, VISIBILITY_TIMEOUT_SECONDS, EmbeddedSqs

__all__ = [
    "EmbeddedPostgres",
    "EmbeddedRedis",
    "EmbeddedServer",
    "EmbeddedSqs",
    "Stack",
    "StackOptions",
    "embedded_stack",
    "private_folder",
]


@dataclass(frozen=True, slots=True)
class StackOptions:
    """How the embedded servers differ from plain ones.

    Attributes:
        with_sqs: Also start an SQS with the job queue.
        persistent_redis: Whether Redis keeps its data over a restart.
        tcp_redis: Whether Redis listens on a port instead of a Unix socket.
        visibility_timeout_seconds: Of the SQS queue.
        max_receive_count: Of the SQS queue.
        data: The folder that keeps the data of PostgreSQL and Redis; None deletes it in the end.
    """

    with_sqs: bool = False
    persistent_redis: bool = False
    tcp_redis: bool = False
    visibility_timeout_seconds: int = VISIBILITY_TIMEOUT_SECONDS
    max_receive_count: int = MAX_RECEIVE_COUNT
    data: Path | None = None


@dataclass(frozen=True, slots=True)
class Stack:
    """All servers a runtime needs, given or embedded.

    Attributes:
        folder: Private to this user, and deleted in the end.
        given: The addresses of servers that are used instead of embedded ones.
        postgres: The embedded server; None where DATABASE_URL is given.
        redis: The embedded server; None where REDIS_URL is given.
        sqs: The embedded server; None unless asked for.
    """

    folder: Path
    given: Mapping[str, str]
    postgres: EmbeddedPostgres | None
    redis: EmbeddedRedis | None
    sqs: EmbeddedSqs | None

    @property
    def keeps_data(self) -> bool:
        """Whether rows or messages outlive the stack."""
        servers = (self.postgres, self.redis)
        return any(server is None or server.keeps_data for server in servers)

    @property
    def servers(self) -> list[EmbeddedServer]:
        """The embedded servers, the slowest to start first."""
        return [server for server in (self.postgres, self.sqs, self.redis) if server is not None]

    @property
    def environment(self) -> dict[str, str]:
        """The settings with which a process uses these servers."""
        environment = dict(self.given)
        if self.postgres is not None:
            environment["DATABASE_URL"] = self.postgres.url
        if self.redis is not None:
            environment["REDIS_URL"] = self.redis.url
        return environment | (self.sqs.environment if self.sqs is not None else {})


@contextmanager
def embedded_stack(
    given: Mapping[str, str] | None = None, options: StackOptions | None = None
) -> Iterator[Stack]:
    """Start the servers that are not given, side by side; stop them at the end of the block.

    Args:
        given: Settings by the names of their environment variables; a DATABASE_URL or
            REDIS_URL in it is used instead of an embedded server.
        options: None for plain servers.

    Raises:
        ConfigurationError: This machine lacks what a server needs.
        ServiceUnavailable: A server did not come up.
    """
    options = options or StackOptions()
    with ExitStack() as undo:
        folder = undo.enter_context(private_folder())
        if options.data is not None:
            undo.enter_context(data_folder(options.data))
        stack = _choose_servers(folder, given or {}, options)
        undo.callback(stop_all, stack.servers)
        for server in stack.servers:
            server.launch()
        for server in reversed(stack.servers):
            server.wait_until_ready()
        yield stack


def _choose_servers(folder: Path, given: Mapping[str, str], options: StackOptions) -> Stack:
    addresses = {name: given[name] for name in ("DATABASE_URL", "REDIS_URL") if given.get(name)}
    data = options.data and options.data.resolve()
    postgres = redis = sqs = None
    if "DATABASE_URL" not in addresses:
        postgres = EmbeddedPostgres(folder / "postgres", data and data / "postgres")
    if "REDIS_URL" not in addresses:
        redis = EmbeddedRedis(
            folder / "redis",
            data and data / "redis",
            persistent=options.persistent_redis,
            tcp=options.tcp_redis,
        )
    if options.with_sqs:
        sqs = EmbeddedSqs(
            folder / "sqs",
            visibility_timeout_seconds=options.visibility_timeout_seconds,
            max_receive_count=options.max_receive_count,
        )
    return Stack(folder, addresses, postgres, redis, sqs)
