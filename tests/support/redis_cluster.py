"""A Redis in cluster mode, as some managed services have no other."""

from collections.abc import Sequence
from pathlib import Path

from redis import RedisError

from devkit.launch import SAME_ACCOUNT
from devkit.stack.redis import EmbeddedRedis
from devkit.stack.server import free_port

SLOTS = 16_384


class ClusteredRedis(EmbeddedRedis):
    """The only node of its cluster: it has all slots."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, tcp=True)
        self._bus_port = free_port()

    def answers(self) -> bool:
        """Return whether it serves all slots."""
        try:
            with self.client() as client:
                known = client.execute_command("CLUSTER INFO")
                if known["cluster_slots_assigned"] == "0":
                    client.execute_command("CLUSTER ADDSLOTSRANGE", 0, SLOTS - 1)
                return bool(known["cluster_state"] == "ok")
        except RedisError:
            return False

    def _run(self, command: Sequence[str | Path], account: tuple[int, int] = SAME_ACCOUNT) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-port", str(self._bus_port))
        super()._run([*command, *options], account)
