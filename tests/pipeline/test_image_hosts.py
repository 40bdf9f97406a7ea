"""pipeline.image_hosts: which addresses are the operator's, and which are never asked."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from pipeline.image_hosts import is_public, parsed


@pytest.mark.parametrize(
    ("setting", "asked", "is_named"),
    [
        ("cam.example", ("https", "cam.example", 443), True),
        ("cam.example", ("http", "cam.example", 80), False),
        ("cam.example", ("https", "cam.example", 8443), False),
        ("cam.example", ("https", "a.cam.example", 443), False),
        ("cam.example", ("https", "evilcam.example", 443), False),
        ("CAM.example:8443", ("https", "cam.example", 8443), True),
        ("http://cam.example", ("http", "cam.example", 80), True),
        ("*.example.org", ("https", "a.b.example.org", 443), True),
        ("*.example.org", ("https", "example.org", 443), False),
        ("*.example.org", ("https", "evilexample.org", 443), False),
        ("a.example, http://10.0.0.5:8080", ("http", "10.0.0.5", 8080), True),
        ("[fd00::0:1]", ("https", "fd00::1", 443), True),
    ],
)
def test_a_host_is_named_by_scheme_name_and_port(
    setting: str, asked: tuple[str, str, int], is_named: bool
) -> None:
    """What is not said is https and its own port; a star stands for all names beneath."""
    assert any(host.named(*asked) for host in parsed(setting)) is is_named


@pytest.mark.parametrize(
    "setting",
    ["*", "*.", "https://", "ftp://cam.example", "cam.example/path", "user@cam.example",
     "cam..example", "cam.example:0", "cam.example:70000", "cam.example=net", "[::1"],
)  # fmt: skip
def test_what_names_no_host_is_refused(setting: str) -> None:
    """With how to write it."""
    with pytest.raises(ValueError, match=r"name each host, such as"):
        parsed(setting)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
     "0.0.0.0", "224.0.0.1", "240.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1",
     "::", "::1", "fe80::1", "fd00:ec2::254", "fec0::1", "ff02::1", "::ffff:127.0.0.1",
     "::ffff:169.254.169.254", "::127.0.0.1", "2002:7f00:1::", "2001:0:7f00:1::",
     "64:ff9b::a9fe:a9fe", "2001:db8::1"],
)  # fmt: skip
def test_what_is_no_address_of_the_internet(address: str) -> None:
    """Private, of this host, of a link, of a group, or one that stands for another."""
    assert not is_public(ip_address(address))
    (name,) = parsed("cam.example")
    assert not name.may_be_at(ip_address(address))


def test_where_a_host_may_be() -> None:
    """A name in the internet; with a network only there; an address at itself."""
    public, private, other = map(ip_address, ("8.8.8.8", "10.1.2.3", "192.168.1.1"))
    (name,) = parsed("cam.example")
    assert name.may_be_at(public)
    assert name.may_be_at(ip_address("2606:4700::1111"))
    (within,) = parsed("nvr.lan=10.0.0.0/8")
    assert [within.may_be_at(each) for each in (public, private, other)] == [False, True, False]
    (literal,) = parsed("http://10.1.2.3")
    assert [literal.may_be_at(each) for each in (public, private, other)] == [False, True, False]
