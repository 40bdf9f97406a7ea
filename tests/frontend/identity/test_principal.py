"""frontend.identity.principal: who a request is from."""

from __future__ import annotations

from typing import Any

from frontend.identity.principal import (
    ANONYMOUS,
    EVERYTHING,
    Principal,
    identified,
    principal,
    share_of,
)


def test_nobody_may_do_nothing() -> None:
    """A request that nobody has looked at is from nobody, who has no role."""
    found = principal({"type": "http"})
    assert found is ANONYMOUS
    assert not any(found.may(role) for role in ("detect", "read", "admin"))


def test_there_and_back() -> None:
    """Who was noted for a request is found again, and for no other."""
    one: dict[str, Any] = {"type": "http"}
    other: dict[str, Any] = {"type": "http", "state": {}}
    identified(one, Principal("camera-1", frozenset({"detect"}), "key", "key:camera-1"))
    assert principal(one).name == "camera-1"
    assert principal(other) is ANONYMOUS


def test_admin_has_every_role() -> None:
    """`admin` may do all; the others only what they say."""
    admin = Principal("a", frozenset({"admin"}), "key")
    assert all(admin.may(role) for role in ("detect", "read", "admin"))
    camera = Principal("b", frozenset({"detect"}), "key")
    assert camera.may("detect")
    assert not camera.may("read")
    assert not camera.may("admin")


def test_for_whom_limits_count() -> None:
    """By a name where somebody has one; else by the address, of IPv6 by its network."""
    key = Principal("camera-1", frozenset({"detect"}), "key", "key:camera-1")
    assert key.share == "camera-1"
    for address, share in (
        ("10.0.0.1", "10.0.0.1"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
    ):  # fmt: skip
        assert Principal(address, EVERYTHING, "open").share == share
        assert share_of({"type": "http", "client": (address, 5)}) == share
    assert share_of({"type": "http", "client": None}) == ""
