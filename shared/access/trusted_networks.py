"""Whose requests need no API key besides those of this machine: TRUSTED_NETWORKS.

In a container a request of the host's own user comes from the default gateway; `gateway` names
it. Used by the gate of the API.
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
    """Tells whether an address belongs to the trusted ones.

    Args:
        names: As in TRUSTED_NETWORKS; `gateway` is looked up once, now.
        routes: Where the gateway is looked up.

    Raises:
        ConfigurationError: `gateway` is trusted, and there is none.
    """

    def __init__(self, names: Iterable[str], routes: Path = ROUTES) -> None:
        self._networks: list[IPv4Network | IPv6Network] = [
            ip_network(_find_gateway(routes) if name == GATEWAY else name) for name in names
        ]

    def hold(self, address: str) -> bool:
        """Return whether a client of this address is trusted; one that is no address is not."""
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
