"""Objects of others' kinds: by the schemas of KEDA, the Prometheus Operator and the Gateway API."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

import jsonschema_rs
import pytest
import yaml

from tests.kube import tools
from tests.kube.chart import Document

pytestmark = pytest.mark.kube


@pytest.mark.parametrize("kind", tools.CRDS)
def test_its_fields(kind: str, rendered: dict[str, list[Document]]) -> None:
    """Are those that there are, and of the right type: as strictly as an API server that is asked
    to refuse unknown fields. A field that there is not is noticed."""
    found = [one for documents in rendered.values() for one in documents if one["kind"] == kind]
    assert found
    for one in found:
        schema = validator(kind, one["apiVersion"].split("/")[1])
        said = [f"{error.instance_path}: {error.message}" for error in schema.iter_errors(one)]
        assert said == [], one["metadata"]["name"]
        wrong = deepcopy(one)
        wrong["spec"]["minReplicas"] = 1
        assert not schema.is_valid(wrong)


@cache
def validator(kind: str, version: str) -> Any:
    """Of one version of a CRD."""
    definition = yaml.safe_load(tools.crd(kind).read_text())["spec"]
    (found,) = (each for each in definition["versions"] if each["name"] == version)
    assert found["served"]
    schema = strict(found["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return jsonschema_rs.validator_for(
        {**schema, "$schema": "http://json-schema.org/draft-07/schema#"}
    )


def strict(schema: Any) -> Any:
    """The same, with no other fields than those that it names."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if (
        isinstance(made.get("properties"), dict)
        and made.get("type") == "object"
        and "additionalProperties" not in made
        and not made.get("x-kubernetes-preserve-unknown-fields")
    ):
        made["additionalProperties"] = False
    if "(?i)" in str(made.get("pattern")):  # as Go has it, and JSON Schema has not
        made.pop("pattern")
    if made.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    return made
