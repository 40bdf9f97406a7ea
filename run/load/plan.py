"""What a load is to be, and how it is written on the command line."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.errors import ConfigurationError

#: Requests a second that one may ask for; what the machine manages is said by the report.
RATE_MAX = 20_000.0
CLIENTS_MAX = 10_000
DURATION_MAX_S = 7 * 86400.0
#: Requests of one run, whose times are all kept: 34 bytes each.
REQUESTS_MAX = 4_000_000
#: The percentiles that are told.
PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)


@dataclass(frozen=True)
class ArrivalRate:
    """Requests a second, at the start and at the end; between them it changes evenly."""

    first: float
    last: float

    def expected(self, seconds: float) -> float:
        """Requests within `seconds` from the start to the end."""
        return (self.first + self.last) / 2 * seconds

    def arrivals(self, seconds: float, *, poisson: bool, seed: int) -> Iterator[float]:
        """When each request is due, in seconds from the start, in order, below `seconds`.

        Evenly spaced, or as a Poisson process: gaps of independent clients, who do not take turns.
        """
        chance = random.Random(seed)
        slope = (self.last - self.first) / seconds
        count = 0.0
        while True:
            # Where the integral of the rate reaches `count`: first * t + slope / 2 * t^2.
            count += chance.expovariate(1.0) if poisson else 1.0
            root = self.first**2 + 2 * slope * count
            if root < 0:
                return  # the rate falls to nothing before
            due = 2 * count / (self.first + math.sqrt(root))
            if due >= seconds:
                return
            yield due


@dataclass(frozen=True)
class Goal:
    """A latency that the searched rate has to keep, at one percentile."""

    percentile: float
    latency_s: float

    def __str__(self) -> str:
        return f"p{self.percentile:g} within {self.latency_s * 1e3:g} ms"


@dataclass(frozen=True)
class Plan:
    """One run: `clients` that take turns with the service, or arrivals at a `rate`."""

    duration_s: float
    clients: int = 0
    rate: ArrivalRate | None = None
    poisson: bool = True
    requests: int = REQUESTS_MAX
    timeout_s: float = 30.0
    #: Seconds after which impatient clients leave, and their share of all requests.
    hang_up_after_s: float | None = None
    hang_up_share: float = 1.0
    pause_s: float = 0.0
    obey_retry_after: bool = False
    connections: int = 1_000
    seed: int = field(default=1)

    def described(self) -> str:
        """In words, for the report."""
        if self.rate is None:
            words = f"{self.clients} clients, each sending its next image after the last answer"
        else:
            first, last = self.rate.first, self.rate.last
            how = "Poisson arrivals" if self.poisson else "evenly spaced arrivals"
            pace = f"{first:g}" if first == last else f"{first:g} to {last:g}"
            words = f"{pace} requests a second, {how}, whether or not earlier ones are answered"
        if self.hang_up_after_s is not None:
            words += f"; {self.hang_up_share:.0%} hang up after {self.hang_up_after_s:g} s"
        return words


_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


def seconds(text: str) -> float:
    """Of 300ms, 10s, 2m, 1h or 10 (seconds)."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|)", text.strip())
    if not found or not 0 < (value := float(found[1]) * _SECONDS[found[2]]) <= DURATION_MAX_S:
        raise ConfigurationError(f"{text!r} is no duration above zero: 300ms, 10s, 2m or 1h")
    return value


def rate(text: str) -> float:
    """A number of requests a second."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= RATE_MAX:
        raise ConfigurationError(
            f"{text!r} is no number of requests a second above 0 and up to {RATE_MAX:g}"
        )
    return value


def ramp(text: str) -> tuple[ArrivalRate, float]:
    """Of FROM:TO:DURATION, such as 10:200:60s."""
    parts = text.split(":")
    if len(parts) != 3:
        raise ConfigurationError(f"{text!r} is no ramp: FROM:TO:DURATION, such as 10:200:60s")
    return ArrivalRate(rate(parts[0]), rate(parts[1])), seconds(parts[2])


def goal(text: str) -> Goal:
    """Of pNN=DURATION, such as p99=300ms."""
    found = re.fullmatch(r"p([0-9]+(?:\.[0-9]+)?)=(.+)", text.strip())
    if not found or float(found[1]) not in PERCENTILES:
        names = ", ".join(f"p{each:g}" for each in PERCENTILES)
        raise ConfigurationError(
            f"{text!r} is no goal: one of {names} and a duration, such as p99=300ms"
        )
    return Goal(float(found[1]), seconds(found[2]))
