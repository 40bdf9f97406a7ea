"""Tells a command how many workers there is work for, once: for cron, or a timer of systemd.

    python3 deploy/autoscale.py http://localhost:9090 LEAST MOST make scale WORKERS={}

Prometheus is asked what KEDA asks it under the Helm chart. More come at once, fewer when the last
five minutes had no need of them. Without an answer nothing is changed.
"""

import json
import math
import subprocess
import sys
from urllib.parse import urlencode
from urllib.request import urlopen

#: Seconds of work a second: what is done, what is refused for want of workers, and what waits.
QUERY = (
    '((sum(rate(damoscope_worker_busy_seconds_total{provider="cpu",queue!~"[^.]+[.].+"}[1m]))'
    " or vector(0)) + (sum(increase(damoscope_worker_busy_seconds_total"
    '{provider="cpu",queue!~"[^.]+[.].+"}[15m])) / (sum(increase(damoscope_batch_size_sum[15m])'
    " and on (job, instance) increase(damoscope_worker_busy_seconds_total"
    '{provider="cpu",queue!~"[^.]+[.].+"}[15m])) > 0) or vector(0.05))'
    ' * ((sum(rate(damoscope_queue_refused_total{queue!~"[^.]+[.].+"}[1m])) or vector(0))'
    ' + (sum(max by (queue) (damoscope_queue_depth{queue!~"[^.]+[.].+"})) or vector(0)) / 5))'
    " and on() (count(damoscope_workers) > 0)"
)
#: The part of their time that workers are to be busy.
TARGET = 0.8


def main(prometheus: str, least: str, most: str, *command: str) -> int:
    """Exit code of the command, in which `{}` is their number."""
    asked = urlencode({"query": f"max_over_time(({QUERY})[5m:15s])"})
    with urlopen(f"{prometheus}/api/v1/query?{asked}", timeout=10) as answer:
        found = json.load(answer)["data"]["result"]
    if not found:
        print("Prometheus has no answer: nothing is changed", file=sys.stderr)
        return 1
    wanted = math.ceil(float(found[0]["value"][1]) / TARGET)
    number = str(min(max(wanted, int(least)), int(most)))
    return subprocess.run([each.replace("{}", number) for each in command]).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
