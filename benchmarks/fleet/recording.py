"""What an idle worker sends to Redis, second by second, as Redis' MONITOR tells it."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from redis import Redis

from pipeline.queue.keys import script

#: Seconds that are recorded: the heartbeat's rarest step comes once in so many beats.
RECORDED_S = 60
#: Connections and answers of a worker that are no part of its idling.
PASSED_OVER = {b"BLPOP", b"HELLO", b"CLIENT", b"AUTH", b"SELECT", b"SCRIPT"}

_LINE = re.compile(rb"(\d+\.\d+) \[\d+ (\S+)\] (.*)")
_ARGUMENT = re.compile(rb'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Recording:
    """Commands as they go over the wire, by the second in which they went."""

    #: The worker's name, which stands in them.
    worker: bytes
    seconds: tuple[bytes, ...]

    def at(self, second: int, name: bytes) -> bytes:
        """What a worker of this name sends in a second. Names are of one length, so that what says
        how long an argument is stays true."""
        if len(name) != len(self.worker):
            raise ValueError(f"a name has {len(self.worker)} bytes")
        return self.seconds[second % len(self.seconds)].replace(self.worker, name)

    def write(self, path: Path) -> None:
        """For the processes of the stubs."""
        texts = [each.decode("latin-1") for each in (self.worker, *self.seconds)]
        path.write_text(json.dumps(texts))

    @classmethod
    def read(cls, path: Path) -> Recording:
        """What was written."""
        worker, *seconds = (each.encode("latin-1") for each in json.loads(path.read_text()))
        return cls(worker, tuple(seconds))


def recorded(lines: Iterable[bytes], worker: bytes, take: str) -> Recording:
    """From lines of MONITOR about one worker, without its own takes (`take`: that script's digest)
    and its waits, which a stub does itself.

    Those of one connection stay in their order, and beside each other: one may be a transaction.
    """
    began, found = None, list[tuple[int, bytes, int, bytes]]()
    for number, line in enumerate(lines):
        parts = _LINE.match(line)
        if parts is None or parts[2] == b"lua":
            continue
        arguments = [codecs.escape_decode(each)[0] for each in _ARGUMENT.findall(parts[3])]
        began = float(parts[1]) if began is None else began
        if arguments[0].upper() in PASSED_OVER or arguments[1:2] == [take.encode()]:
            continue
        second = int(float(parts[1]) - began)
        found.append((second, parts[2], number, wire(arguments)))
    seconds = [b""] * (max((each[0] for each in found), default=0) + 1)
    for second, _, _, command in sorted(found):
        seconds[second] += command
    return Recording(worker, tuple(seconds))


def wire(arguments: list[bytes]) -> bytes:
    """A command as Redis' protocol has it."""
    parts = [b"*%d\r\n" % len(arguments)]
    parts += [b"$%d\r\n%b\r\n" % (len(each), each) for each in arguments]
    return b"".join(parts)


def take_digest(redis: Redis) -> str:
    """Of the script by which workers take images."""
    digest: str = redis.register_script(script("take")).sha
    return digest
