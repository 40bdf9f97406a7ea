"""Evaluates the rules over the embedded store, as Prometheus does in the full stack."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from uuid import uuid4

from redis import Redis
from redis.exceptions import LockError, RedisError, ResponseError

from monitoring.alerts import examples
from monitoring.alerts.burn_rules import every
from monitoring.alerts.ledger import PREFIX, Ledger
from monitoring.alerts.notices import Announcer
from monitoring.alerts.rules import Rule
from monitoring.alerts.schema import Episode
from monitoring.alerts.states import Standing, advance, after_gap
from monitoring.notify.notice import Notice
from monitoring.stores.contract import MetricsStore, TraceStore
from pipeline.connection import explain
from pipeline.errors import Unavailable
from pipeline.settings import Settings

log = logging.getLogger("damoscope.alerts")

#: Seconds between two calls of `tick`: figures change with each export, every 5 s.
INTERVAL_S = 5.0
#: Seconds after its last tick at which a watcher is no longer the one that evaluates.
LEADER_S = 30.0
#: When nobody evaluated for so long, what was pending begins anew.
GAP_S = 60.0
#: Least seconds between two log lines about a store or Redis that is away.
QUIET_S = 60.0


class Evaluator:
    """Keeps states and episodes in Redis only, so that any watcher goes on where one stopped.

    Raises ConfigurationError when the rules cannot be read.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: MetricsStore,
        traces: TraceStore,
        redis: Redis,
        notify: Callable[[Notice], object],
        channels: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        self._rules = every(settings)
        self._metrics, self._traces = metrics, traces
        self._ledger = Ledger(redis)
        self._announcer = Announcer(self._ledger, self._rules.cooldown, notify, settings, channels)
        self._leader = redis.lock(f"{PREFIX}:leader", timeout=LEADER_S, thread_local=False)
        self._leads = False
        self._logged_s = -QUIET_S
        #: Of rules that are measured only once in a while: when that was, and what was found.
        self._measured: dict[str, tuple[float, float | None]] = {}

    def tick(self, now_s: float | None = None) -> None:
        """Evaluate every rule once, unless another watcher does. Never raises: when the store or
        Redis is away, what was known stays as it was."""
        now_s = time.time() if now_s is None else now_s
        try:
            if self._is_leader():
                self._evaluate(now_s)
        except ResponseError as error:
            self._leads = False
            self._complain(f"{explain(error)}: {error}")
            self._mend()
        except (RedisError, OSError) as error:
            self._leads = False
            self._complain(f"{explain(error)}: {error}")
        except Exception as error:  # whatever it is, the next evaluation must come
            self._complain(repr(error), exc_info=True)

    def close(self) -> None:
        """Let another watcher go on at once."""
        if self._leads:
            self._leads = False
            try:
                self._leader.release()
            except (RedisError, OSError):
                log.debug("Redis is away: the lock ends by itself")

    def _is_leader(self) -> bool:
        if self._leads:
            try:
                self._leader.reacquire()
            except LockError:  # another one took over while we were away
                self._leads = False
        self._leads = self._leads or self._leader.acquire(blocking=False)
        if not self._leads:
            self._mend()
        return self._leads

    def _mend(self) -> None:
        try:
            self._ledger.mend()
        except (RedisError, OSError) as error:
            self._complain(f"{explain(error)}: {error}")

    def _evaluate(self, now_s: float) -> None:
        standings = self._ledger.standings()
        evaluated_at, _ = self._ledger.evaluated()
        if evaluated_at is not None and now_s - evaluated_at > GAP_S:
            standings = {name: after_gap(standing) for name, standing in standings.items()}
        try:
            new = {
                rule.name: self._advanced(rule, standings.get(rule.name, Standing()), now_s)
                for rule in self._rules.enabled
            }
        except Unavailable as error:
            self._ledger.fail(str(error))
            self._complain(str(error))
            return
        self._record(new, now_s)
        self._ledger.save(new, now_s)

    def _advanced(self, rule: Rule, standing: Standing, now_s: float) -> Standing:
        value, recent = self._value(rule, now_s), None
        if rule.recently and standing.state != "firing" and rule.holds(value):
            recent = rule.figure.measure(self._metrics, rule.recently, now_s)
        return advance(rule, standing, value, now_s, recent)

    def _value(self, rule: Rule, now_s: float) -> float | None:
        at, value = self._measured.get(rule.name, (now_s, None))
        if 0 < now_s - at < rule.every_s:
            return value
        value = rule.figure.measure(self._metrics, rule.asked, now_s)
        self._measured[rule.name] = (now_s, value)
        return value

    def _record(self, standings: Mapping[str, Standing], now_s: float) -> None:
        """Open, go on with and close episodes, and send what is to be sent.

        It comes before the states are saved: what is cut short is done again by the next tick,
        and finds its episode open already.
        """
        going_on = self._ledger.open()
        for rule in self._rules.enabled:
            standing, episode = standings[rule.name], going_on.pop(rule.name, None)
            if standing.state == "firing":
                self._fires(rule, standing, episode, now_s)
            elif episode is not None:
                ended = episode.model_copy(update={"resolved_at": now_s})
                self._announcer.resolved(ended, now_s, rule, unmeasured=standing.value is None)
                self._ledger.end(rule.name, ended)
        for key, episode in going_on.items():  # of a rule that is no more, or switched off
            self._ledger.end(key, episode.model_copy(update={"resolved_at": now_s}))

    def _fires(self, rule: Rule, standing: Standing, episode: Episode | None, now_s: float) -> None:
        if episode is None:
            episode = self._begin(rule, standing, now_s)
        worst = rule.further(episode.worst, standing.value)
        if worst != episode.worst:
            episode = episode.model_copy(update={"worst": worst})
            self._ledger.update(episode)
        self._announcer.firing(rule.name, episode, now_s, rule)

    def _begin(self, rule: Rule, standing: Standing, now_s: float) -> Episode:
        value = standing.value
        episode = Episode(
            id=uuid4().hex,
            name=rule.name,
            severity=rule.severity,
            message=rule.text(rule.message, value),
            pending_at=now_s if standing.pending_at is None else standing.pending_at,
            fired_at=now_s,
            resolved_at=None,
            value=value,
            worst=value,
            example_trace_id=examples.find(rule, self._traces, now_s),
            silenced=self._ledger.silenced_until(rule.name, now_s) is not None,
            notified=False,
        )
        self._ledger.begin(rule.name, episode)
        log.info("%s fires: %s", rule.name, episode.message.en)
        return episode

    def _complain(self, problem: str, *, exc_info: bool = False) -> None:
        if time.monotonic() - self._logged_s >= QUIET_S:
            self._logged_s = time.monotonic()
            log.warning("alerts are not evaluated: %s", problem, exc_info=exc_info)
