"""Whose requests need no key: as addresses, and as the gateway of a container."""

from pathlib import Path

import pytest

from shared.access.trusted_networks import TrustedNetworks
from shared.errors import ConfigurationError

HEADER = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
OWN_NETWORK = "eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
DEFAULT_ROUTE = "eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    """Give the routes of a container whose host is 172.18.0.1."""
    path = tmp_path / "route"
    path.write_text(HEADER + OWN_NETWORK + DEFAULT_ROUTE)
    return path


def test_the_gateway_is_the_host_of_the_container_alone(routes: Path) -> None:
    """Other containers of the same network are none of the host's users."""
    trusted = TrustedNetworks(["gateway"], routes)
    assert trusted.hold("172.18.0.1")
    assert trusted.hold("::ffff:172.18.0.1")
    for stranger in ("172.18.0.2", "192.168.1.7", "127.0.0.1", "::1", "testclient", ""):
        assert not trusted.hold(stranger), stranger


def test_networks_hold_all_of_their_addresses() -> None:
    """And none of another version of the protocol."""
    trusted = TrustedNetworks(["10.1.2.0/24", "10.9.9.9", "fd00::/64"])
    assert all(trusted.hold(address) for address in ("10.1.2.200", "10.9.9.9", "fd00::7"))
    assert not any(trusted.hold(address) for address in ("10.1.3.1", "10.9.9.8", "fd01::7"))


def test_no_client_is_trusted_by_default() -> None:
    """An empty list holds no address at all."""
    assert not TrustedNetworks([]).hold("127.0.0.1")


@pytest.mark.parametrize("text", [None, "", HEADER + OWN_NETWORK])
def test_a_gateway_that_is_not_there_is_named(tmp_path: Path, text: str | None) -> None:
    """The list would hold no address, and every request would be refused without a reason."""
    path = tmp_path / "route"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match="TRUSTED_NETWORKS=gateway"):
        TrustedNetworks(["gateway"], path)
