"""Alerts of a single machine, whole: real images, the watcher, a webhook that is told."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.integration import pictures
from tests.monitoring.receivers import Hook
from tests.paths import NO_OBJECTIVES
from tests.servers import Service, eventually

TEXT = {"en": "It takes {value}.", "zh": "耗时 {value}。"}
#: Any image at all is too slow for it.
RULE = {"name": "TooSlow", "metric": "latency_mean_s", "window": "10s", "comparison": ">",
        "threshold": 0, "for": "5s", "severity": "critical", "message": TEXT}  # fmt: skip


#: What came last is 10 s.
LASTS = {"name": "Fails", "metric": "success_rate", "window": "2m", "comparison": "<",
         "threshold": 0.9, "for": "39s", "severity": "critical", "message": TEXT}  # fmt: skip


def rule_of(client: httpx.Client) -> dict[str, Any]:
    answer = client.get("/api/v1/alerts")
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["alerts"]
    return dict(found)


def history_of(client: httpx.Client) -> list[dict[str, Any]]:
    return list(client.get("/api/v1/alerts").json()["history"])


def test_an_alert_from_the_image_to_the_webhook(tmp_path: Path) -> None:
    """It fires while images come, names the slowest of them, and is resolved after the last; a
    restart in between changes nothing, and the history stays."""
    rules = tmp_path / "alerts.yaml"
    rules.write_text(yaml.safe_dump({"rules": [RULE]}, allow_unicode=True))
    home = tmp_path / "home"
    with Hook().running() as hook:
        settings = {
            "DAMOSCOPE_ALERTS": str(rules), "DAMOSCOPE_NOTIFY": hook.url,
            "DAMOSCOPE_SLO": str(NO_OBJECTIVES),
        }  # fmt: skip
        with Service(home, **settings) as service:
            service.wait_until_ready()
            with service.client() as client:
                sent = set()

                def fires() -> bool:
                    answer = client.post(
                        "/api/v1/detect", content=pictures.phone(),
                        headers={"content-type": "image/jpeg"},
                    )  # fmt: skip
                    sent.add(answer.headers["x-trace-id"])
                    return rule_of(client)["state"] == "firing"

                eventually(fires, "the alert to fire")
                shown = rule_of(client)
                assert shown["value"] > 0
                assert shown["example_trace_id"] in sent
                eventually(lambda: len(hook.accepted) == 1, "the notice")
                eventually(lambda: history_of(client)[0]["notified"], "that it was sent")
        with Service(home, **settings) as service:
            service.wait_until_ready()
            with service.client() as client:
                eventually(lambda: rule_of(client)["state"] == "inactive", "the end")
                (episode,) = history_of(client)
                assert episode["resolved_at"] > episode["fired_at"]
                assert episode["example_trace_id"] == shown["example_trace_id"]
                eventually(lambda: len(hook.accepted) == 2, "the second notice")
        firing, resolved = hook.accepted
        assert "TooSlow" in str(firing)
        assert "TooSlow" in str(resolved)
        assert "Resolved" in str(resolved)


def test_a_burst_that_is_over_fires_nothing(tmp_path: Path) -> None:
    """Images that are out of time at once make the rule pending; once those that came last are well
    it is inactive, although over its whole window the success rate is as low as before."""
    rules = tmp_path / "alerts.yaml"
    rules.write_text(yaml.safe_dump({"rules": [LASTS]}, allow_unicode=True))
    settings = {"DAMOSCOPE_ALERTS": str(rules), "DAMOSCOPE_SLO": str(NO_OBJECTIVES)}
    with Service(tmp_path / "home", **settings) as service:
        service.wait_until_ready()
        with service.client() as client:

            def detect(**params: str) -> int:
                return client.post(
                    "/api/v1/detect", content=pictures.jpeg(), params=params,
                    headers={"content-type": "image/jpeg"},
                ).status_code  # fmt: skip

            # One is refused where the one before is reckoned to be ahead of it.
            assert {detect(timeout="0.001") for _ in range(15)} <= {503, 504}
            eventually(lambda: rule_of(client)["state"] == "pending", "the burst to be seen")

            def over() -> bool:
                assert detect() == 200
                time.sleep(0.5)  # so few that those that failed still count for much
                found = rule_of(client)
                return found["state"] == "inactive" and 0 < found["value"] < 0.9

            eventually(over, "the burst to be over while it is in the window")
            assert history_of(client) == []
