"""pipeline.sentinel: addresses of Redis behind Sentinels."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from pipeline import connection, sentinel
from pipeline.errors import ConfigurationError
from pipeline.settings import Settings


def test_an_address() -> None:
    """Hosts with and without a port, the service, the database, options; who is who."""
    found = sentinel.read(
        "redis+sentinel://me:p%40ss@one,two:26380,[::1]:7/images/3"
        "?sentinel_username=you&sentinel_password=other%2Fone&socket_keepalive=true"
    )
    assert found.hosts == (("one", 26379), ("two", 26380), ("::1", 7))
    assert found.service == "images"
    assert found.options == {
        "username": "me", "password": "p@ss", "db": 3, "socket_keepalive": True
    }  # fmt: skip
    assert found.sentinel_options == {"username": "you", "password": "other/one"}


def test_with_tls() -> None:
    """Redis and the Sentinels are asked over TLS, with the same certificates."""
    found = sentinel.read("rediss+sentinel://one/images?ssl_ca_certs=/ca.pem")
    assert found.options == {"db": 0, "ssl": True, "ssl_ca_certs": "/ca.pem"}
    assert found.sentinel_options["ssl"] is True
    assert found.sentinel_options["ssl_ca_certs"] == "/ca.pem"


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://:s3cret-word@/images", "redis+sentinel://:s3cret-word@one",
        "redis+sentinel://:s3cret-word@one:x/images", "redis+sentinel://:s3cret-word@one/images/x",
        "redis+sentinel://:s3cret/word@one/images", "redis+sentinel://:s3cret-word@one,/images",
        "redis+sentinel://:s3cret-word@one/images/-1", "redis+sentinel://s3cret-word",
        "redis+sentinel://:s3cret-word@one/images?db=s3cret-word",
    ],
)  # fmt: skip
def test_what_cannot_be_read(url: str) -> None:
    """It is refused with how to write it, and nothing of it is repeated."""
    with pytest.raises(ConfigurationError, match="write it like redis") as caught:
        connection.redis_url(Settings(redis_url=SecretStr(url)))
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_its_secrets() -> None:
    """Redis' password and the Sentinels' own, as written and decoded."""
    found = connection.secrets(
        "redis+sentinel://me:p%40ss-word@one,two/images?sentinel_password=other%2Fone"
    )
    assert {"p%40ss-word", "p@ss-word", "other%2Fone", "other/one"} <= found
    assert not {"me", "one", "two", "images"} & found
