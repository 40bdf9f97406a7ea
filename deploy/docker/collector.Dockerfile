# syntax=docker/dockerfile:1.7
# The Collector as it is released, with a folder for its queue that it may write to. From the
# repository root:
#   docker build -f deploy/docker/collector.Dockerfile .

ARG COLLECTOR_IMAGE=otel/opentelemetry-collector-contrib:0.161.0

FROM ${COLLECTOR_IMAGE}
COPY --chown=10001:10001 deploy/docker/collector-data /otelcol-data
USER 10001:10001
VOLUME ["/otelcol-data"]
