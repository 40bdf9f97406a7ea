"""frontend.edge.networks: whose an address is."""

from __future__ import annotations

import pytest

from frontend.edge.networks import network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_whose_it_is(address: str, network: str) -> None:
    """One address of IPv4, however it is written; 64 bits of one of IPv6; all else as it is."""
    assert network_of(address) == network
