"""What is in the environment of the processes that we start: what each needs, and no more.

A secret that a process does not have cannot be read there: neither by whoever breaks into it nor in
`/proc`, a core dump or a page of debugging. So nothing is passed on but what stands here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from pydantic import SecretStr

from pipeline.setting_readers import Process
from pipeline.settings import Settings, variable

#: Of every process: where things are, and how a person reads and writes.
_EVERY = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TERM")
_EVERY_PREFIXES = ("LC_", "LD_", "MALLOC_")
#: Of our own: Python and its libraries, OpenTelemetry, proxies and certificates, the processors.
_OWN = (
    "VIRTUAL_ENV", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy", "DAMOSCOPE_HOME",
)  # fmt: skip
_OWN_PREFIXES = (
    "PYTHON", "OTEL_", "SSL_CERT_", "GRPC_", "XDG_", "CUDA_", "NVIDIA_", "NCCL_", "ORT_", "OMP_",
    "MKL_", "OPENBLAS_", "KMP_", "OPENCV_", "COVERAGE_",
)  # fmt: skip
#: Of a frontend alone: the pages' library, and where it keeps files.
_FRONTEND_PREFIXES = ("GRADIO_",)


def of_server(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Of a server that is no part of ours, such as Redis: no setting and no secret."""
    return dict(_passed(_given(environ), _EVERY, _EVERY_PREFIXES))


def of(process: Process, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Of a process of ours: the settings that it reads, and no other's secrets."""
    given = _given(environ)
    prefixes: tuple[str, ...] = _EVERY_PREFIXES + _OWN_PREFIXES
    if process == "frontend":
        prefixes += _FRONTEND_PREFIXES
    settings = tuple(variable(name) for name in Settings.read_by(process))
    return dict(_passed(given, (*_EVERY, *_OWN, *settings, "REDIS_URL"), prefixes))


def with_settings(process: Process, settings: Settings) -> dict[str, str]:
    """The same with these settings, wherever they come from."""
    said = settings.environment()
    given = of(process)
    for name in Settings.read_by(process):
        value = getattr(settings, name)
        if variable(name) in said:
            given[variable(name)] = said[variable(name)]
        elif isinstance(value, SecretStr):
            given[variable(name)] = value.get_secret_value()
    return given


def _given(environ: Mapping[str, str] | None) -> Mapping[str, str]:
    return os.environ if environ is None else environ


def _passed(
    environ: Mapping[str, str], names: tuple[str, ...], prefixes: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    for name, value in environ.items():
        if name in names or name.startswith(prefixes):
            yield name, value
