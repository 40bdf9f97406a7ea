"""What becomes of a ScaledObject: KEDA's metric, and the steps of a HorizontalPodAutoscaler.

Written after kubernetes/pkg/controller/podautoscaler: a metric that is an AverageValue, a tolerance
of a tenth, `behavior` with its windows and policies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

TOLERANCE = 0.1
#: How often the HorizontalPodAutoscaler looks.
SYNC_S = 15.0


@dataclass
class Autoscaler:
    """The HorizontalPodAutoscaler that KEDA makes of the `spec` of a ScaledObject."""

    spec: dict[str, Any]
    _wanted: list[tuple[float, int]] = field(default_factory=list)
    _changes: list[tuple[float, int]] = field(default_factory=list)

    @property
    def behavior(self) -> dict[str, Any]:
        """How fast it may change."""
        found: dict[str, Any] = self.spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        return found

    def decide(self, values: list[tuple[float | None, float]], current: int, now: float) -> int:
        """How many there are to be: the most that any (value, target) asks for."""
        asked = [_replicas(value, target, current) for value, target in values if value is not None]
        # Without an answer nothing changes; with some of them only upwards.
        wanted = max(asked, default=current)
        if len(asked) < len(values):
            wanted = max(wanted, current)
        self._wanted.append((now, wanted))
        down, up = self.behavior["scaleDown"], self.behavior["scaleUp"]
        window = down["stabilizationWindowSeconds"]
        self._wanted = [each for each in self._wanted if each[0] > now - window]
        if wanted > current:
            most = self._most(up["policies"], current, now)
            made = min(wanted, most, self.spec["maxReplicaCount"])
        else:
            steady = min(current, max(each for _, each in self._wanted))
            least = self._least(down["policies"], current, now)
            made = max(steady, least, self.spec["minReplicaCount"])
        if made != current:
            self._changes.append((now, made - current))
        return made

    def _most(self, policies: list[dict[str, Any]], current: int, now: float) -> int:
        limits = []
        for policy in policies:
            began = current - self._changed(now, policy["periodSeconds"], 1)
            limits.append(
                began + policy["value"] if policy["type"] == "Pods"
                else math.ceil(began * (1 + policy["value"] / 100))
            )  # fmt: skip
        return max(limits)

    def _least(self, policies: list[dict[str, Any]], current: int, now: float) -> int:
        limits = []
        for policy in policies:
            began = current - self._changed(now, policy["periodSeconds"], -1)
            limits.append(
                began - policy["value"] if policy["type"] == "Pods"
                else int(began * (1 - policy["value"] / 100))
            )  # fmt: skip
        return min(limits)

    def _changed(self, now: float, period: float, sign: int) -> int:
        """What was added (or taken, below zero) within the period before now."""
        return sum(
            change for when, change in self._changes if when > now - period and change * sign > 0
        )


def _replicas(value: float, target: float, current: int) -> int:
    if current and abs(value / (target * current) - 1) <= TOLERANCE:
        return current
    return math.ceil(value / target)
