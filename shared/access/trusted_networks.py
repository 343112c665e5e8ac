"""TRUSTED_NETWORKS: the clients that need no API key, besides those of this machine.

In a container, requests of the host come from the default gateway, which `gateway` names. Used by
the gate of the API.
"""

import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

from shared.errors import ConfigurationError
from shared.setting_types import GATEWAY

ROUTES = Path("/proc/net/route")
"""The IPv4 routes of this network namespace (man 5 proc_net); addresses as host-order hex."""

_IS_GATEWAY = 0x2
"""RTF_GATEWAY of linux/route.h."""


class TrustedNetworks:
    """Checks whether an address is trusted.

    Args:
        names: As in TRUSTED_NETWORKS; `gateway` is looked up once, now.
        routes: The file that names the gateway.

    Raises:
        ConfigurationError: `gateway` is trusted, but the machine has none.
    """

    def __init__(self, names: Iterable[str], routes: Path = ROUTES) -> None:
        self._networks: list[IPv4Network | IPv6Network] = [
            ip_network(_find_gateway(routes) if name == GATEWAY else name) for name in names
        ]

    def hold(self, address: str) -> bool:
        """Return whether a client of this address is trusted; False for a text that is none."""
        if not self._networks:
            return False
        try:
            client = ip_address(address)
        except ValueError:
            return False
        if isinstance(client, IPv6Address) and client.ipv4_mapped is not None:
            client = client.ipv4_mapped
        return any(client in network for network in self._networks)


def _find_gateway(routes: Path) -> str:
    try:
        lines = routes.read_text("ascii").splitlines()[1:]
    except OSError:
        lines = []
    for line in lines:
        _, destination, gateway, flags, *_ = line.split()
        if int(destination, 16) == 0 and int(flags, 16) & _IS_GATEWAY:
            return socket.inet_ntoa(struct.pack("=L", int(gateway, 16)))
    raise ConfigurationError(
        "settings: TRUSTED_NETWORKS=gateway, and this machine has no default gateway"
    )
