"""pipeline.connection: what servers of all versions say is told in words of ours."""

from __future__ import annotations

import pytest
from redis import exceptions as refusals

from pipeline.connection import explain, passing

#: What redis-py raises, and what is made of it. The texts are those of Redis 6.2 and 7.0 and of
#: Valkey 9, where they differ.
FULL, REPLICA = "Redis is full", "Redis takes no writes: it is a replica"
SAID = [
    (refusals.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), FULL),
    (
        refusals.ResponseError(
            "Error running script (call to f_5b0): @user_script:8: @user_script: 8: "
            "-OOM command not allowed when used memory > 'maxmemory'."
        ),
        FULL,
    ),
    (
        refusals.ResponseError("BUSY Redis is busy running a script. You can only call ..."),
        "Redis is busy with a script",
    ),
    (
        refusals.ResponseError("NOREPLICAS Not enough good replicas to write."),
        "Redis has too few replicas to take writes",
    ),
    (
        refusals.ResponseError("MISCONF Redis is configured to save RDB snapshots, but ..."),
        "Redis cannot write to its disk",
    ),
    (refusals.ReadOnlyError("You can't write against a read only replica."), REPLICA),
    (
        refusals.ResponseError("UNBLOCKED force unblock from blocking operation, instance ..."),
        REPLICA,
    ),
    (
        refusals.MasterDownError("Link with MASTER is down and replica-serve-stale-data is ..."),
        "Redis is a replica that has lost its primary",
    ),
    (
        refusals.ResponseError("ACL failure in script: User worker has no permissions to run ..."),
        "Redis does not let our user do this",
    ),
    (refusals.BusyLoadingError("Redis is loading the dataset"), "Redis is loading its data"),
    (refusals.TimeoutError("Timeout reading from socket"), "Redis does not answer"),
]


@pytest.mark.parametrize(("error", "sentence"), SAID)
def test_what_passes(error: refusals.RedisError, sentence: str) -> None:
    """The cause is named, and what was tried is worth another try."""
    assert explain(error) == sentence
    assert passing(error)


@pytest.mark.parametrize(
    "error",
    [
        refusals.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
        refusals.ResponseError("unknown command 'BUSYBODY', with args beginning with:"),
        refusals.NoScriptError("No matching script."),
    ],
)
def test_what_does_not_pass(error: refusals.RedisError) -> None:
    """Trying again would change nothing."""
    assert explain(error) == "Redis refuses a command"
    assert not passing(error)
