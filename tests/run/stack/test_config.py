"""The servers' configuration files agree with each other, with Compose and with `telemetry`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from telemetry import catalogue
from telemetry.variables import VARIABLES
from tests.run.stack import compose
from tests.run.stack.compose import ROOT

FILES_WITH_ADDRESSES = (
    "docker-compose.yml",
    "otel-collector.yaml",
    "jaeger/config.yaml",
    "deploy/prometheus/prometheus.yml",
    "deploy/alertmanager/alertmanager.yml",
    "deploy/grafana/provisioning/datasources/damoscope.yml",
)
COLLECTOR_FILES = (
    "otel-collector.yaml",
    "deploy/otel-collector.tail-sampling.yaml",
    "deploy/otel-collector.secured.yaml",
)
#: Of several Collectors, as Compose has not.
PEERS = "deploy/otel-collector.peers.yaml"
KINDS = ("receivers", "processors", "connectors", "exporters", "extensions")
#: Modules of the builder's manifest whose component is called otherwise.
COMPONENTS = {
    "memorylimiterprocessor": "memory_limiter",
    "tailsamplingprocessor": "tail_sampling",
    "spanmetricsconnector": "span_metrics",
    "otlphttpexporter": "otlp_http",
    "loadbalancingexporter": "load_balancing",
    "healthcheckextension": "health_check",
    "filestorage": "file_storage",
}


def _files(folder: str) -> list[str]:
    return sorted(str(path) for path in Path(folder).glob("*.yml"))


def _load(path: str) -> Any:
    return yaml.safe_load(compose.text(path))


@pytest.mark.parametrize("path", FILES_WITH_ADDRESSES)
def test_addresses_name_services_that_listen_there(path: str) -> None:
    """Every `service:port` is a service of Compose and a port of its configuration."""
    listening = compose.listening()
    source = re.sub(r"#.*", "", compose.text(path))
    found = re.findall(r"(?<![\w.-])([a-z]+):(\d{4,5})\b", source)
    for host, port in found:
        if host != "localhost":
            assert int(port) in listening[host], f"{host}:{port}"
    assert found


def test_collector_and_jaeger_listen_where_compose_checks_and_publishes() -> None:
    """Health checks and published ports are ports the servers have."""
    listening = compose.listening()
    services = compose.load({"REDIS_PASSWORD": "x"})["services"]
    for name, service in services.items():
        for port in service.get("ports", []):
            assert int(port.rsplit(":", 1)[-1]) in listening[name], name
        check = " ".join(service.get("healthcheck", {}).get("test", []))
        for port in re.findall(r"127\.0\.0\.1:(\d+)", check):
            assert int(port) in listening[name], name


def test_services_that_talk_share_a_network() -> None:
    """Whoever names another service in its environment is on one of its networks."""
    services = compose.load({"REDIS_PASSWORD": "x"})["services"]
    for name, service in services.items():
        for value in service.get("environment", {}).values():
            for other in re.findall(r"(?:://|@)([a-z]+):\d+", str(value)):
                if other in services:
                    shared = set(service["networks"]) & set(services[other]["networks"])
                    assert shared, (name, other)


def test_compose_sets_variables_that_the_files_read() -> None:
    """A renamed variable would silently leave the default."""
    services = compose.load({"REDIS_PASSWORD": "x"})["services"]
    read = {
        "collector": {"GOMEMLIMIT"}.union(*map(compose.collector_defaults, COLLECTOR_FILES)),
        "jaeger": set(compose.collector_defaults("jaeger/config.yaml")),
        "redis": {"REDISCLI_AUTH"}
        | set(re.findall(r"\$\{([A-Z_]+):", compose.text("deploy/docker/redis-start.sh"))),
    }
    for name, known in read.items():
        assert set(services[name]["environment"]) <= known, name


def test_env_tells_the_collector_what_its_files_read() -> None:
    """Each of their variables that is no address, file or share of the container's memory, with the
    same default."""
    read: dict[str, str] = {}
    for path in COLLECTOR_FILES:
        read |= compose.collector_defaults(path)
    ends = ("_FILE", "_DATA", "_HOST", "_PORT", "_MIB", "JAEGER_OTLP_URL")
    free = {
        name: default
        for name, default in read.items()
        if not name.endswith(ends) and not default.startswith("0.0.0.0:")
    }
    assert {"COLLECTOR_QUEUE_SPANS", "SAMPLING_SHARE_PERCENT", "LOGS_OTLP_URL"} <= set(free)
    services = compose.load({"REDIS_PASSWORD": "x"} | dict.fromkeys(free, "3"))["services"]
    told = services["collector"]["environment"]
    assert {name: told.get(name) for name in free} == dict.fromkeys(free, 3)
    assert {name: compose.variables()[name] for name in free} == free


def test_pipelines_use_what_is_configured() -> None:
    """No component is configured and unused, or used and not configured."""
    config = compose.collector_config("otel-collector.yaml")
    used: set[str] = set(config["service"]["extensions"])
    for pipeline in config["service"]["pipelines"].values():
        used |= {*pipeline["receivers"], *pipeline.get("processors", []), *pipeline["exporters"]}
        # What comes in from outside is limited first.
        assert (pipeline["processors"][0] == "memory_limiter") == (
            pipeline["receivers"] == ["otlp"]
        )
    assert used == {name for kind in KINDS for name in config.get(kind, {})}


def test_tail_sampling_changes_the_traces_pipeline_only() -> None:
    """The overlay keeps the base's processors and adds its own after them."""
    base = compose.collector_config("otel-collector.yaml")["service"]["pipelines"]
    overlay = compose.collector_config("deploy/otel-collector.tail-sampling.yaml")
    assert overlay["service"] == {
        "pipelines": {"traces": {"processors": ["memory_limiter", "resource", "tail_sampling"]}}
    }
    assert base["traces"]["processors"] == ["memory_limiter", "resource"]
    conditions = json.dumps(overlay["processors"]["tail_sampling"]["policies"])
    assert catalogue.SPAN_ENQUEUE in conditions
    assert catalogue.SPAN_PROCESS in conditions


def test_peers_decide_about_whole_traces_and_count_once() -> None:
    """What comes in goes to the peers, and only what comes from them is sampled and stored; nothing
    of it is counted again."""
    base = compose.collector_config("otel-collector.yaml")["service"]["pipelines"]
    overlay = compose.collector_config(PEERS)
    assert overlay["service"]["pipelines"] == {
        "traces": {"processors": base["traces"]["processors"], "exporters": ["load_balancing"]},
        "traces/sampling": {
            "receivers": ["otlp/peers"],
            "processors": ["memory_limiter", "tail_sampling"],
            "exporters": base["traces"]["exporters"],
        },
    }
    assert overlay["exporters"]["load_balancing"]["routing_key"] == "traceID"


def test_secured_overlay_asks_for_a_token_by_either_protocol() -> None:
    """Nothing of the base is lost, and neither gRPC nor HTTP stays open."""
    base = compose.collector_config("otel-collector.yaml")
    overlay = compose.collector_config("deploy/otel-collector.secured.yaml")
    asked = overlay["receivers"]["otlp"]["protocols"]
    assert asked.keys() == base["receivers"]["otlp"]["protocols"].keys()
    for protocol in asked.values():
        assert protocol["auth"] == {"authenticator": "bearertokenauth"}
        assert protocol["tls"]["cert_file"]
        assert protocol["tls"]["key_file"]
    extensions = [*base["service"]["extensions"], "bearertokenauth"]
    assert overlay["service"] == {"extensions": extensions}


def test_manifest_builds_exactly_what_the_files_use() -> None:
    """run/stack/otelcol/builder.yaml has each component of the files and no other."""
    manifest = _load("run/stack/otelcol/builder.yaml")
    for kind in KINDS:
        built = set()
        for module in manifest.get(kind, []):
            path = module["gomod"].split()[0].rsplit("/", 1)[-1]
            built.add(COMPONENTS.get(path) or path.removesuffix(kind.removesuffix("s")))
        used = {
            name.split("/")[0]
            for path in (*COLLECTOR_FILES, PEERS)
            for name in compose.collector_config(path).get(kind, {})
        }
        assert built == used, kind


def test_prometheus_takes_exemplars_and_the_senders_labels() -> None:
    """Without the flag, OpenMetrics and honor_labels, exemplars or `job` would be lost."""
    services = compose.load({"REDIS_PASSWORD": "x"})["services"]
    assert "--enable-feature=exemplar-storage" in services["prometheus"]["command"]
    exporter = compose.collector_config("otel-collector.yaml")["exporters"]["prometheus"]
    assert exporter["enable_open_metrics"] is True
    config = _load("deploy/prometheus/prometheus.yml")
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    assert jobs["damoscope"]["honor_labels"] is True
    # An exemplar is offered for one export interval: scraping less often would miss some.
    interval = next(each for each in VARIABLES if each.name == "OTEL_METRIC_EXPORT_INTERVAL")
    interval_ms = int(interval.default.strip("`"))
    assert int(jobs["damoscope"]["scrape_interval"].rstrip("s")) * 1000 <= interval_ms


def test_dashboard_uses_the_provisioned_data_sources() -> None:
    """There is one of the kind that its panels choose from; exemplars lead to Jaeger."""
    sources = {
        source["uid"]: source
        for source in _load("deploy/grafana/provisioning/datasources/damoscope.yml")["datasources"]
    }
    board = json.loads(compose.text("deploy/grafana/dashboards/damoscope.json"))
    used = {panel["datasource"]["type"] for panel in board["panels"] if "datasource" in panel}
    assert used == {source["type"] for source in sources.values() if source.get("isDefault")}
    links = sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert links[0]["datasourceUid"] in sources
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))


def test_alerts_say_what_to_do() -> None:
    """Each alert has a severity, and a summary and an action in both languages."""
    for name in ("alerts", "platform", "slo"):
        found = _load(f"deploy/prometheus/rules/{name}.yml")["groups"][0]["rules"]
        for rule in (each for each in found if "alert" in each):
            assert rule["labels"]["severity"] in ("info", "warning", "critical"), rule["alert"]
            texts = {"summary", "summary_zh", "action", "action_zh", "value"}
            assert set(rule["annotations"]) == texts, rule["alert"]


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("promtool", ["check", "config", "deploy/prometheus/prometheus.yml"]),
        (
            "promtool",
            ["check", "rules", *_files("deploy/prometheus/rules")],
        ),
        # One by one: some take half a minute of CPU.
        *(("promtool", ["test", "rules", file]) for file in _files("deploy/prometheus/tests")),
        ("amtool", ["check-config", "deploy/alertmanager/alertmanager.yml"]),
    ],
    ids=lambda given: Path(given[-1]).name if isinstance(given, list) else given,
)
def test_prometheus_tools_accept_the_files(program: str, arguments: list[str]) -> None:
    """promtool and amtool agree; never skipped in CI."""
    if shutil.which(program) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is not on PATH")
        pytest.skip(
            f"{program} is not on PATH: install Debian's prometheus, prometheus-alertmanager"
        )
    done = subprocess.run(
        [program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
