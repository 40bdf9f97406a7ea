# syntax=docker/dockerfile:1.7
# Frontend (HTTP API and pages) and watcher. Build from the repository root:
#   docker build -f deploy/docker/frontend.Dockerfile .

ARG PYTHON_IMAGE=python:3.12.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_CACHE_DIR=/var/cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# Dependencies first: these layers are built again only when the locks change.
COPY requirements/frontend.txt requirements/build.txt requirements/
# The environment of the image has no pip and no setuptools: those of the build install into it.
# Nor has it the tests of others' packages, which are a tenth of it.
RUN --mount=type=cache,target=/var/cache/pip \
    python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --require-hashes -r requirements/frontend.txt \
 && find /opt/venv -depth -type d -name tests -exec rm -r {} + \
 && pip install --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY pipeline pipeline
COPY telemetry telemetry
COPY monitoring monitoring
COPY frontend frontend
COPY worker worker
COPY run run
COPY models models
COPY examples examples
RUN --mount=type=cache,target=/var/cache/pip \
    pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && pip --python /opt/venv/bin/python install --no-deps /wheels/*.whl

FROM ${PYTHON_IMAGE}
ARG VERSION=local
LABEL org.opencontainers.image.title="damoscope frontend" \
      org.opencontainers.image.description="HTTP API, pages and watcher of damoscope" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
# The uid is fixed so that volumes keep their owner from one release to the next.
RUN groupadd -g 10001 damoscope \
 && useradd -u 10001 -g 10001 -d /var/lib/damoscope -M -s /usr/sbin/nologin damoscope \
 && install -d -o 10001 -g 10001 -m 0750 /var/lib/damoscope
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DAMOSCOPE_HOME=/var/lib/damoscope \
    DAMOSCOPE_HEARTBEAT_FILE=/tmp/heartbeat \
    DAMOSCOPE_HOST=0.0.0.0 \
    DAMOSCOPE_PORT=7860 \
    GRADIO_TEMP_DIR=/tmp/gradio \
    GRADIO_ANALYTICS_ENABLED=False \
    HOME=/tmp
USER 10001:10001
VOLUME ["/var/lib/damoscope"]
EXPOSE 7860
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["python", "/app/docker/check_frontend.py"]
# The watcher runs from this image, too, and has a check of its own: see docker-compose.yml.
COPY deploy/docker/check_frontend.py /app/docker/
STOPSIGNAL SIGTERM
# An exec-form command: the process itself gets SIGTERM and ends its requests.
CMD ["damoscope", "frontend"]
