"""What an Idempotency-Key stands for: the job of the request that it came with first."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import orjson

from pipeline.job import DetectOptions, Priority
from pipeline.queue.keys import IDEMPOTENCY_KEYS

_VALUE = re.compile(rb"([0-9A-Za-z_-]{1,64}) ([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class First:
    """The request that came first with a key: its job, and the fingerprint of what was asked."""

    job_id: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Once:
    """What is to run once, however often it is sent."""

    #: Where Redis keeps what came first: `key_of`.
    key: str
    fingerprint: str
    #: The job of an earlier request that has come to nothing, in whose place this one may come.
    given_up: str = ""


def key_of(owner: str, sent: str) -> str:
    """Where Redis keeps what an owner's key stands for. Others' keys are others, even if they are
    the same."""
    return IDEMPOTENCY_KEYS + hashlib.sha256(orjson.dumps([owner, sent])).hexdigest()


def fingerprint(image: bytes, options: DetectOptions, priority: Priority, model: str = "") -> str:
    """The same for the same image and parameters, in whatever order and case labels are named.
    How long a client waits is no part of it. `model` is the one that was asked for, if one was."""
    asked = options.model_dump()
    if options.labels is not None:
        asked["labels"] = sorted({label.casefold() for label in options.labels})
    digest = hashlib.sha256(orjson.dumps([asked, priority, *([model] if model else [])]))
    digest.update(image)
    return digest.hexdigest()


def value_of(first: First) -> bytes:
    """How Redis keeps it."""
    return f"{first.job_id} {first.fingerprint}".encode()


def read_value(value: bytes | None) -> First | None:
    """The reverse; None for nothing, and for what is none of ours."""
    if value is None or not (found := _VALUE.fullmatch(value)):
        return None
    return First(found[1].decode(), found[2].decode())
