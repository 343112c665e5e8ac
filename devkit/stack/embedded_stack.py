"""All servers a runtime needs, given or embedded, for the length of a `with` block."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from devkit.stack.folder import private_folder
from devkit.stack.postgres import EmbeddedPostgres
from devkit.stack.redis import EmbeddedRedis
from devkit.stack.server import EmbeddedServer
from devkit.stack.sqs import MAX_RECEIVE_COUNT, VISIBILITY_TIMEOUT_SECONDS, EmbeddedSqs


class EmbeddedStack:
    """Starts what is not given; stops and deletes it at the end of the block.

    Args:
        given: Settings by the names of their environment variables; a DATABASE_URL or
            REDIS_URL in it is used instead of an embedded server.
        with_sqs: Also start an SQS with the job queue.
        persistent_redis: Whether the embedded Redis keeps its data over a restart.
        tcp_redis: Whether the embedded Redis listens on a port instead of a Unix socket.
        visibility_timeout_seconds: Of the SQS queue.
        max_receive_count: Of the SQS queue.

    Attributes:
        postgres: The embedded server; None where DATABASE_URL is given.
        redis: The embedded server; None where REDIS_URL is given.
        sqs: The embedded server; None unless asked for.
        folder: The private folder; exists inside the block only.
    """

    def __init__(
        self,
        given: Mapping[str, str],
        *,
        with_sqs: bool = False,
        persistent_redis: bool = False,
        tcp_redis: bool = False,
        visibility_timeout_seconds: int = VISIBILITY_TIMEOUT_SECONDS,
        max_receive_count: int = MAX_RECEIVE_COUNT,
    ) -> None:
        self._given = {
            name: given[name] for name in ("DATABASE_URL", "REDIS_URL") if given.get(name)
        }
        self._with_sqs = with_sqs
        self._persistent_redis = persistent_redis
        self._tcp_redis = tcp_redis
        self._visibility_timeout_seconds = visibility_timeout_seconds
        self._max_receive_count = max_receive_count
        self._exit = ExitStack()
        self.postgres: EmbeddedPostgres | None = None
        self.redis: EmbeddedRedis | None = None
        self.sqs: EmbeddedSqs | None = None

    @property
    def servers(self) -> list[EmbeddedServer]:
        """The embedded servers, the slowest to start first."""
        return [server for server in (self.postgres, self.sqs, self.redis) if server is not None]

    @property
    def environment(self) -> dict[str, str]:
        """The settings with which a process uses these servers."""
        environment = dict(self._given)
        if self.postgres is not None:
            environment["DATABASE_URL"] = self.postgres.url
        if self.redis is not None:
            environment["REDIS_URL"] = self.redis.url
        if self.sqs is not None:
            environment |= self.sqs.environment
        return environment

    def __enter__(self) -> Self:
        """Start the servers side by side.

        Raises:
            ConfigurationError: This machine lacks what a server needs.
            ServiceUnavailable: A server did not come up.
        """
        with ExitStack() as undo:
            self.folder = undo.enter_context(private_folder())
            self._choose_servers(self.folder)
            undo.callback(self._stop)
            for server in self.servers:
                server.launch()
            for server in reversed(self.servers):
                server.wait_until_ready()
            self._exit = undo.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the servers and delete their folder."""
        self._exit.close()

    def _choose_servers(self, folder: Path) -> None:
        if "DATABASE_URL" not in self._given:
            self.postgres = EmbeddedPostgres(folder / "postgres")
        if "REDIS_URL" not in self._given:
            self.redis = EmbeddedRedis(
                folder / "redis", persistent=self._persistent_redis, tcp=self._tcp_redis
            )
        if self._with_sqs:
            self.sqs = EmbeddedSqs(
                folder / "sqs",
                visibility_timeout_seconds=self._visibility_timeout_seconds,
                max_receive_count=self._max_receive_count,
            )

    def _stop(self) -> None:
        for server in self.servers:
            server.request_stop()
        for server in self.servers:
            server.stop()
