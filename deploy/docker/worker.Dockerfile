# syntax=docker/dockerfile:1.7
# Worker: takes images from the queue and runs the model on them. From the repository root:
#   docker build -f deploy/docker/worker.Dockerfile .                                        (CPU)
#   docker build -f deploy/docker/worker.Dockerfile --build-arg REQUIREMENTS=requirements-gpu.txt .
# The GPU image brings CUDA and cuDNN from PyPI; the host needs an NVIDIA driver and the
# NVIDIA Container Toolkit, nothing else.

ARG PYTHON_IMAGE=python:3.12.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# One of requirements.txt and requirements-gpu.txt, never both: onnxruntime and
# onnxruntime-gpu are the same module.
ARG REQUIREMENTS=requirements.txt
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /app
COPY ${REQUIREMENTS} ./
RUN pip install --require-hashes -r ${REQUIREMENTS}
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY pipeline pipeline
COPY telemetry telemetry
COPY monitoring monitoring
COPY frontend frontend
COPY worker worker
COPY run run
COPY models models
RUN pip install --no-deps --no-build-isolation -e . \
 && python -m compileall -q pipeline telemetry worker run

FROM ${PYTHON_IMAGE}
RUN groupadd -g 10001 damoscope \
 && useradd -u 10001 -g 10001 -d /tmp -M -s /usr/sbin/nologin damoscope
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DAMOSCOPE_HOME=/tmp/damoscope \
    HOME=/tmp \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
# Generous start period: the model is loaded and warmed up first.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --start-interval=2s --retries=3 \
    CMD ["python", "/app/docker/check_worker.py"]
COPY deploy/docker/check_worker.py /app/docker/check_worker.py
# SIGTERM is a warm shutdown: the batch in hand is finished, no new one is taken.
STOPSIGNAL SIGTERM
CMD ["damoscope", "worker"]
