"""What settings of text may say: each kind checked, and written one way.

They raise ValueError that says how to write it.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Final

from limits import parse as parse_rate
from pydantic import AfterValidator, SecretStr

from models.errors import ModelStoreError
from models.names import checked_name
from pipeline.image_hosts import parsed as parse_image_hosts

#: Fewest characters of what signs cookies.
SESSION_SECRET_MIN: Final = 32
#: Most models with queues of their own, and workers of `damoscope up`.
MODELS_BESIDE_MAX: Final = 16
WORKERS_MAX: Final = 256
_COUNT: Final = re.compile(r"[0-9]{1,3}")
#: A URL that the service can be reached by: scheme, host, perhaps a port and a path.
_ORIGIN: Final = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?/?", re.I)
_URL: Final = re.compile(rf"{_ORIGIN.pattern.removesuffix('/?')}(/[\w.~-]+)*/?", re.I | re.ASCII)

#: Loosely: some mirrors have the address that they stand for in their path.
_MIRROR: Final = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?", re.I)


def _rate(value: str) -> str:
    try:
        parse_rate(value)
    except ValueError as error:
        raise ValueError("write it like 100/minute or 5/second") from error
    return value


def _long_enough(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < SESSION_SECRET_MIN:
        raise ValueError(f"use {SESSION_SECRET_MIN} random characters or more")
    return value


def _networks(value: str) -> str:
    for each in value.split(",") if value else ():
        try:
            ip_network(each.strip(), strict=False)
        except ValueError as error:
            raise ValueError(
                "write addresses or networks, such as 10.0.0.5 or 10.0.0.0/8"
            ) from error
    return value


def _url(value: str) -> str:
    if not _URL.fullmatch(value) or ".." in value:
        raise ValueError(
            "write scheme, host and path, such as https://exams.example/phones, in ASCII"
        )
    scheme, rest = value.split("://")
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}://{_host(scheme, host)}{slash}{path}".rstrip("/")


def _mirror(value: str) -> str:
    if not _MIRROR.fullmatch(value):
        raise ValueError("write http:// or https://, a host and perhaps a path, without a query")
    return value.rstrip("/")


def _origins(value: str) -> str | None:
    found = []
    for each in value.split(",") if value else ():
        if not _ORIGIN.fullmatch(each.strip()):
            raise ValueError(
                "name each origin, such as https://exams.example, without a path or wildcards"
            )
        scheme, host = each.strip().removesuffix("/").split("://")
        found.append(f"{scheme.lower()}://{_host(scheme, host)}")
    return ",".join(found) or None


def _image_hosts(value: str) -> str | None:
    return value if parse_image_hosts(value) else None


def _model_name(value: str) -> str:
    try:
        return checked_name(value)
    except ModelStoreError as error:
        raise ValueError(str(error)) from error


def workers_by_model(value: str) -> dict[str, int]:
    """How many workers each model is to have, of `NAME=COUNT` separated by commas; a name alone has
    one. Raises ValueError."""
    found: dict[str, int] = {}
    for each in value.split(",") if value.strip() else ():
        name, equals, count = (part.strip() for part in each.partition("="))
        if equals and not (_COUNT.fullmatch(count) and 1 <= int(count) <= WORKERS_MAX):
            raise ValueError(f"{count!r} is no number of workers: write 1 to {WORKERS_MAX}")
        if _model_name(name) in found:
            raise ValueError(f"{name} stands there twice")
        found[name] = int(count) if equals else 1
    if len(found) > MODELS_BESIDE_MAX or sum(found.values()) > WORKERS_MAX:
        raise ValueError(
            f"at most {MODELS_BESIDE_MAX} models with {WORKERS_MAX} workers together can be there"
        )
    return found


def _workers_by_model(value: str) -> str | None:
    return value if workers_by_model(value) else None


def _host(scheme: str, host: str) -> str:
    """Host and port as browsers write them."""
    default = ":443" if scheme.lower() == "https" else ":80"
    return host.lower().removesuffix(default)


#: So many in a time, such as `100/minute`.
Rate = Annotated[str, AfterValidator(_rate)]
#: What signs cookies.
SigningSecret = Annotated[SecretStr, AfterValidator(_long_enough)]
#: Addresses or networks, separated by commas.
Networks = Annotated[str, AfterValidator(_networks)]
#: A URL without query; scheme and host in lower case, no slash at its end.
ServiceUrl = Annotated[str, AfterValidator(_url)]
#: What stands before the path of a file that is fetched; no slash at its end.
MirrorUrl = Annotated[str, AfterValidator(_mirror)]
#: The name of a model: what it is installed as, or that of one that ships.
ModelName = Annotated[str, AfterValidator(_model_name)]
#: Models by name, each with a number of workers, separated by commas.
WorkersByModel = Annotated[str, AfterValidator(_workers_by_model)]
#: Hosts that images are fetched from, separated by commas.
ImageHosts = Annotated[str, AfterValidator(_image_hosts)]
#: Origins, separated by commas, as browsers write them.
Origins = Annotated[str, AfterValidator(_origins)]
