# syntax=docker/dockerfile:1.7
# Worker: takes images from the queue and runs the model on them. From the repository root:
#   docker build -f deploy/docker/worker.Dockerfile .                                        (CPU)
#   docker build -f deploy/docker/worker.Dockerfile --build-arg PART=worker-gpu .
# The GPU image brings CUDA and cuDNN from PyPI; the host needs an NVIDIA driver and the
# NVIDIA Container Toolkit, nothing else.

ARG PYTHON_IMAGE=python:3.12.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# worker-cpu or worker-gpu: the two builds of ONNX Runtime are the same module.
ARG PART=worker-cpu
ENV PIP_CACHE_DIR=/var/cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# Dependencies first: these layers are built again only when the locks change.
COPY requirements/${PART}.txt requirements/build.txt requirements/
# The environment of the image has no pip and no setuptools: those of the build install into it.
# Nor has it the tests of others' packages, which are a tenth of it.
RUN --mount=type=cache,target=/var/cache/pip \
    python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --require-hashes -r requirements/${PART}.txt \
 && find /opt/venv -depth -type d \( -name tests -o -path '*/onnx/backend/test' \) -exec rm -r {} + \
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
LABEL org.opencontainers.image.title="damoscope worker" \
      org.opencontainers.image.description="Worker of damoscope: object detection by DAMO-YOLO" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
RUN groupadd -g 10001 damoscope \
 && useradd -u 10001 -g 10001 -d /tmp -M -s /usr/sbin/nologin damoscope \
 && install -d -o 10001 -g 10001 -m 0750 /var/lib/damoscope
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DAMOSCOPE_HOME=/var/lib/damoscope \
    DAMOSCOPE_HEARTBEAT_FILE=/tmp/heartbeat \
    HOME=/tmp \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
# Installed models.
VOLUME ["/var/lib/damoscope"]
# The process' own look at itself gives the file the time of now: no Python is started to ask, nor is
# Redis, whose absence is no fault of a worker. Generous start period: the model is loaded first.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --start-interval=2s --retries=3 \
    CMD find "$DAMOSCOPE_HEARTBEAT_FILE" -newermt "30 seconds ago" | grep -q .
# SIGTERM is a warm shutdown: the batch in hand is finished, no new one is taken.
STOPSIGNAL SIGTERM
CMD ["damoscope", "worker"]
