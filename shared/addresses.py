"""Where names lead, and which machines an address from outside may not lead to.

A caller connects to the address that was checked, so that a second answer of a name server cannot
lead elsewhere.
"""

import ipaddress
import socket

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_TUNNELS = (ipaddress.IPv6Network("2001::/32"), ipaddress.IPv6Network("2002::/16"))
"""Teredo and 6to4 (IANA, "IPv6 Special-Purpose Address Registry")."""


class AddressRefused(Exception):
    """A host is not known, or leads into a private network; the text says which."""


def addresses_of(host: str, port: int) -> list[str]:
    """Return the IP addresses of a host.

    Raises:
        socket.gaierror: It is not known, or no name server answers.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def is_public(address: str) -> bool:
    """Return whether an IP address is of no private network, and leads into none."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    # NAT64, site-local and others lie outside; two inside carry an address of IPv4.
    if found.version == 6 and found not in _GLOBAL_UNICAST:
        return False
    return found.is_global and not (
        found.is_multicast or any(found in network for network in _TUNNELS)
    )


def find_address(host: str, port: int, *, allows_private: bool = False) -> str:
    """Return an IP address of a host, after a check of all that it has.

    Raises:
        AddressRefused: The host is not known, or one of its addresses is not public.
    """
    try:
        found = addresses_of(host, port)
    except (OSError, UnicodeError) as error:
        raise AddressRefused("its host is not known") from error
    if not allows_private and not all(map(is_public, found)):
        raise AddressRefused("it leads into a private network")
    return found[0]
