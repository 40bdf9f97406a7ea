"""Who a request is from, as every part of the frontend asks for it."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from frontend.edge.networks import network_of

#: `detect` sends images and sees its own results, `read` sees traces, figures, alerts and
#: reports, `admin` may do everything.
Role = Literal["detect", "read", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
EVERYTHING: Final[frozenset[Role]] = frozenset(ROLES)

#: How somebody was recognised: not at all, because the service is open to whoever reaches it; by
#: a key in the header; by a login with a key; by a login with OpenID Connect; as a process or
#: server of the installation itself, by its token; or not at all where it would be needed.
Kind = Literal["open", "key", "session", "oidc", "internal", "anonymous"]

_PLACE = "principal"


@dataclass(frozen=True)
class Principal:
    """Somebody, and what they may do."""

    #: Under this name they are counted and shown: a key's name, a user's, an address.
    name: str
    roles: frozenset[Role]
    kind: Kind
    #: Whose jobs, uploads and results these are, unmistakably; None where nobody is told apart,
    #: so that an unguessable id has to do.
    owner: str | None = None

    def may(self, role: Role) -> bool:
        """Whether a role is theirs; `admin` has all."""
        return role in self.roles or "admin" in self.roles

    @property
    def known(self) -> bool:
        """Whether it was said who this is, rather than only where it comes from."""
        return self.kind in ("key", "session", "oidc", "internal")

    @property
    def share(self) -> str:
        """For whom limits, turns and parts of what is scarce count them."""
        return self.name if self.known else network_of(self.name)


ANONYMOUS: Final = Principal("", frozenset(), "anonymous")


def principal(scope: MutableMapping[str, Any]) -> Principal:
    """Who sent the request of this ASGI scope (`request.scope`). Where the layer that finds out
    has not been, it is nobody, who may do nothing."""
    found: Principal = scope.get("state", {}).get(_PLACE, ANONYMOUS)
    return found


def share_of(scope: MutableMapping[str, Any]) -> str:
    """`Principal.share` of who sent the request of this scope; where it is not said who that is,
    it goes by the address."""
    address = scope.get("client")
    return principal(scope).share or (network_of(address[0]) if address else "")


def identified(scope: MutableMapping[str, Any], who: Principal) -> None:
    """Note who sent the request."""
    scope.setdefault("state", {})[_PLACE] = who
