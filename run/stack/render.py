"""The two configuration files that know no environment variables, with native addresses.

Prometheus and Alertmanager read addresses from their files only. The files in the
repository carry the host names of docker-compose.yml; here each `host:port` of those is
replaced by a local one, and nothing else is touched.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.errors import ConfigurationError
from run.stack.ports import HOST, Ports

#: Where Compose has the token of the frontend's webhook.
TOKEN = "/run/secrets/webhook_token"


def addresses(ports: Ports) -> dict[str, str]:
    """Addresses inside Compose -> addresses of the native stack."""
    local = {
        "collector:8889": ports.collector_metrics,
        "collector:8888": ports.collector_telemetry,
        "jaeger:8888": ports.jaeger_telemetry,
        "localhost:9090": ports.prometheus,
        "alertmanager:9093": ports.alertmanager,
        "frontend:7860": ports.frontend,
    }
    return {compose: f"{HOST}:{port}" for compose, port in local.items()}


def render(root: Path, target: Path, ports: Ports, token: Path, rules: Path | None = None) -> None:
    """Write prometheus/ and alertmanager/ of `root`/deploy to `target`, made local. `token` is the
    file with the token that Alertmanager shows to the frontend, `rules` a folder with other rules
    of Prometheus than those of the repository. Raises ConfigurationError."""
    for folder in ("prometheus", "alertmanager"):
        shutil.copytree(root / "deploy" / folder, target / folder, dirs_exist_ok=True)
    if rules is not None:
        if not any(rules.glob("*.yml")):
            raise ConfigurationError(f"RULES_DIR={rules}: there is no rule file (*.yml) there")
        shutil.rmtree(target / "prometheus" / "rules")
        shutil.copytree(rules, target / "prometheus" / "rules")
    known = addresses(ports) | {TOKEN: str(token)}
    used = set()
    for name in ("prometheus/prometheus.yml", "alertmanager/alertmanager.yml"):
        path = target / name
        text = path.read_text()
        for compose, native in known.items():
            if compose in text:
                used.add(compose)
                text = text.replace(compose, native)
        path.write_text(text)
    if unused := sorted(set(known) - used):
        raise ConfigurationError(
            f"no configuration file mentions {', '.join(unused)}: see run/stack/render.py"
        )
