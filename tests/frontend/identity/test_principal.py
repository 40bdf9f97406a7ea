"""frontend.identity.principal: who a request is from."""

from __future__ import annotations

from typing import Any

from frontend.identity.principal import ANONYMOUS, Principal, identified, principal


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
