"""Which images are let into the queue: those that can be answered within their time.

What stands ahead of an image is known exactly where it is enqueued (enqueue.lua), and the workers
say how long an image takes them. To be told so by Redis costs an upload, though. So each frontend
keeps in mind what it was told last, lets that many images through as the workers have done since,
and refuses others before their first byte is read. Where it then sees that nothing waits, because
images were withdrawn or removed, what it was told before holds no longer.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline import errors
from pipeline.job import Priority
from pipeline.queue.pools import DEFAULT, POOLS_MAX, Pool

#: The part of an image's time that is reckoned with: workers are not always as fast as they were.
MARGIN = 0.8
#: Clients that are kept in mind.
CLIENTS_MAX = 4096
#: Seconds for which the refusals are counted that come back.
REFUSALS_S = 1.0
#: Bounds of `Retry-After`, in seconds.
RETRY_MIN_S, RETRY_MAX_S = 1, 60
#: Seconds for which a full queue is taken to be full without asking.
FULL_S = 0.05


@dataclass(frozen=True, slots=True)
class Throughput:
    """What the workers can do, by their own word."""

    images_per_s: float
    workers: int
    #: When it was seen that nothing waits for them (time.monotonic), None where something does; and
    #: how many had an image in work.
    nothing_waits_s: float | None = None
    busy: int = 0

    def most_ahead(self, left_s: float, images: int = 1) -> int:
        """How many images may be ahead of one that has to be answered within `left_s`. None may
        always: else nobody would learn that workers have become faster.

        In tiles it is as much work as so many `images`, which one worker does."""
        own_s = images * self.workers / self.images_per_s
        return max(0, math.floor((MARGIN * left_s - own_s) * self.images_per_s))

    def answer_s(self, ahead: float, images: int = 1) -> float:
        """Seconds until an image is answered that has so many ahead of it."""
        return (ahead + images * self.workers) / self.images_per_s


@dataclass(slots=True)
class _Known:
    """What is ahead of the next image of a client, as it was at a moment."""

    ahead: float = 0.0
    #: When that was reckoned, and when the queue said so.
    at_s: float = field(default_factory=time.monotonic)
    told_s: float = -math.inf
    #: The queue is full for it until then.
    full_until_s: float = 0.0
    #: How often the queue has said so, and whether it said last that nothing was ahead.
    told: int = 0
    nothing: bool = False
    #: Images that were let through since, and have not ended.
    since: int = 0


#: A client's own, or that of whoever has nothing in the queue yet.
_Key = tuple[str | None, Priority]


class Reckoned:
    """An image that was let through, and counts as ahead of those that come after it."""

    def __init__(self, known: OrderedDict[_Key, _Known], keys: tuple[_Key, ...]) -> None:
        self._known = known
        #: How often the queue had spoken then.
        self._told = {key: known[key].told if key in known else 0 for key in keys}
        for each in self._each():
            each.ahead, each.since = each.ahead + 1, each.since + 1

    def _each(self) -> list[_Known]:
        return [self._known[key] for key in self._told if key in self._known]

    def ended(self, *, done: bool) -> None:
        """Its request has ended. If the image never came to the queue, it is ahead of nobody; and
        neither is one that is done, where nothing was ahead of it when it came."""
        for key, told in self._told.items():
            known = self._known.get(key)
            if known is None:
                continue
            if known.told == told:
                known.ahead, known.since = max(0.0, known.ahead - 1), max(0, known.since - 1)
            elif done and known.nothing and known.told == told + 1:
                known.ahead = min(known.ahead, known.since)
        self._told = {}


class Admission:
    """What one frontend knows of the queue between two looks at it."""

    def __init__(self, throughput: Callable[[], Throughput | None], pool: Pool = DEFAULT) -> None:
        """`throughput` is None while no worker has said how long an image takes it."""
        self._throughput, self._pool = throughput, pool
        self._known: OrderedDict[_Key, _Known] = OrderedDict()
        self._refused_at_s: deque[float] = deque(maxlen=100_000)
        #: Clients that were refused before their upload, and when last; the latest last.
        self._kept_out: OrderedDict[_Key, float] = OrderedDict()

    def most_ahead(self, left_s: float, images: int = 1) -> int | None:
        """How many images may be ahead of one with so much time, which is as much work as so many;
        None where nobody can say."""
        throughput = self._throughput()
        return None if throughput is None else throughput.most_ahead(left_s, images)

    def early(self, client: str, priority: Priority, left_s: float) -> Reckoned:
        """Let an image through that may be answered in time. Raises Overloaded for one that need
        not be uploaded."""
        now_s = time.monotonic()
        keys: tuple[_Key, ...] = ((client, priority), (None, priority))
        known = {key: found for key in keys if (found := self._known.get(key)) is not None}
        if any(now_s < each.full_until_s for each in known.values()):
            raise self._full()
        throughput = self._throughput()
        if throughput is None or not known:
            return Reckoned(self._known, keys)
        for each in known.values():
            each.ahead = max(0.0, each.ahead - (now_s - each.at_s) * throughput.images_per_s)
            each.at_s = now_s
            if throughput.nothing_waits_s is not None and each.told_s < throughput.nothing_waits_s:
                each.ahead = min(each.ahead, throughput.busy + each.since)
        ahead = max(each.ahead for each in known.values())
        if ahead > throughput.most_ahead(left_s):
            self._keep_out(keys[0], now_s)
            raise self.late(ahead, left_s)
        return Reckoned(self._known, keys)

    def _keep_out(self, key: _Key, now_s: float) -> None:
        self._kept_out[key] = now_s
        self._kept_out.move_to_end(key)
        if len(self._kept_out) > CLIENTS_MAX:
            self._kept_out.popitem(last=False)

    def _others(self, key: _Key, now_s: float) -> int:
        """How many clients are kept out as this one is. They take turns, so before its next image
        each of them will have one more: if each counted on every place that becomes free, all would
        upload for it, and all but one in vain. Not all may come: no more are reckoned with than are
        done in the time for which refusals are remembered, and then the queue is asked again."""
        kept_out, throughput = self._kept_out, self._throughput()
        while kept_out and next(iter(kept_out.values())) < now_s - REFUSALS_S:
            kept_out.popitem(last=False)
        if key not in kept_out or throughput is None:
            return 0
        return min(len(kept_out) - 1, int(throughput.images_per_s * REFUSALS_S))

    def told(self, client: str, priority: Priority, *, ahead: int, held: int, full: bool,
             images: int = 1) -> None:  # fmt: skip
        """What the queue said of an image: how many are ahead of it, how many of its client wait,
        and whether there was no room for it. It is as much work as so many `images`."""
        now_s = time.monotonic()
        keys: list[_Key] = [(client, priority)]
        if held == 0:  # whoever else comes first has as many ahead
            keys.append((None, priority))
        for key in keys:
            known = self._known.setdefault(key, _Known())
            self._known.move_to_end(key)
            known.ahead = float(ahead + images + self._others(key, now_s))
            known.at_s = known.told_s = now_s
            known.told, known.nothing, known.since = known.told + 1, ahead == 0, 0
            known.full_until_s = now_s + FULL_S if full else 0.0
        while len(self._known) > CLIENTS_MAX:
            self._known.popitem(last=False)

    def late(self, ahead: float, left_s: float, images: int = 1) -> errors.Overloaded:
        """The refusal of an image that cannot be answered in time."""
        throughput = self._throughput()
        if throughput is None:  # its workers have gone meanwhile
            return self._full()
        count = math.ceil(ahead)
        error = errors.Overloaded(
            f"{'1 image is' if count == 1 else f'{count} images are'} ahead, and the workers do "
            f"{throughput.images_per_s:.3g} a second: an answer would take about "
            f"{throughput.answer_s(ahead, images):.2g} s, and {max(0.0, left_s):.3g} s are left; "
            "try again later, or with a longer timeout"
        )
        too_many = ahead - throughput.most_ahead(left_s, images)
        return self._later(error, max(0.0, too_many) / throughput.images_per_s)

    def full(self, message: str) -> errors.Overloaded:
        """The refusal of an image for which there is no room."""
        return self._later(errors.Overloaded(message), 0.0)

    def _full(self) -> errors.Overloaded:
        return self.full("the queue is full; try again later")

    def _later(self, error: errors.Overloaded, wait_s: float) -> errors.Overloaded:
        """Say when to try again: once there is room, and those had a turn who were refused too."""
        now_s, refused = time.monotonic(), self._refused_at_s
        while refused and refused[0] < now_s - REFUSALS_S:
            refused.popleft()
        throughput = self._throughput()
        others_s = len(refused) / throughput.images_per_s if throughput else 0.0
        refused.append(now_s)
        error.queue = self._pool.name
        error.retry_after_s = min(RETRY_MAX_S, max(RETRY_MIN_S, math.ceil(wait_s + others_s)))
        return error


class Admissions:
    """What one frontend knows of the queues of each pool: none keeps out another's images."""

    def __init__(self, throughput: Callable[[Pool], Throughput | None]) -> None:
        self._throughput = throughput
        self._each: OrderedDict[Pool, Admission] = OrderedDict()

    def of(self, pool: Pool) -> Admission:
        """That of a pool which there is, or was a moment ago."""
        found = self._each.get(pool)
        if found is None:
            found = self._each[pool] = Admission(lambda: self._throughput(pool), pool)
        self._each.move_to_end(pool)
        while len(self._each) > POOLS_MAX + 1:
            self._each.popitem(last=False)
        return found
