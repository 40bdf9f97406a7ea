"""By which name a client is counted: that of its key, its address, a hash of it, or not at all."""

from __future__ import annotations

import hashlib
import secrets
from typing import Literal

from redis.asyncio import Redis
from redis.exceptions import RedisError

#: Clients that one process tells apart; later ones are counted as `OTHER`, so that no sender
#: of many addresses can fill the metrics store.
CLIENTS_MAX = 300
OTHER, UNKNOWN = "other", "unknown"
#: Key of the salt, the same for all frontends of an installation. Without it, hashes of
#: addresses could be undone by hashing every address there is.
SALT_KEY = "damoscope:clients:salt"
SALT_BYTES, HASH_DIGITS = 16, 12


class Clients:
    """Names clients for `damoscope.client.requests`."""

    def __init__(self, counted_as: Literal["address", "hashed", "off"], redis: Redis) -> None:
        self._as, self._redis = counted_as, redis
        self._salt: bytes | None = None
        self._names: dict[str, str] = {}

    async def prepare(self) -> None:
        """Get what hashing needs. Until that has worked, clients are counted as unknown."""
        if self._as != "hashed" or self._salt is not None:
            return
        try:
            await self._redis.set(SALT_KEY, secrets.token_bytes(SALT_BYTES), nx=True)
            salt = await self._redis.get(SALT_KEY)
        except (RedisError, OSError):
            return
        self._salt = salt.encode() if isinstance(salt, str) else salt

    def name(self, address: str, *, known: bool = False) -> str | None:
        """The name of a client; None when clients are not counted. `known` clients have one of
        their own in place of an address, which is not hidden."""
        if self._as == "off":
            return None
        hashed = self._as == "hashed" and not known
        if not address or (hashed and self._salt is None):
            return UNKNOWN
        if address not in self._names:
            if len(self._names) >= CLIENTS_MAX:
                return OTHER
            self._names[address] = self._hashed(address) if hashed else address
        return self._names[address]

    def _hashed(self, address: str) -> str:
        digest = hashlib.sha256((self._salt or b"") + address.encode())
        return digest.hexdigest()[:HASH_DIGITS]
