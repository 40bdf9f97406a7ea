"""`validate.py VERSION FILE...`, in the environment of kubernetes-validate: every object of the
files by that version's schemas, strictly. What is defined by a CRD is counted, and left out."""

from __future__ import annotations

import sys
from pathlib import Path

import kubernetes_validate as kube
import yaml

CRDS = ("keda.sh/", "monitoring.coreos.com/", "gateway.networking.k8s.io/")


def main(version: str, paths: list[str]) -> int:
    """Exit code 1 when an object is not valid; each is named."""
    valid = left_out = wrong = 0
    for path in paths:
        for one in yaml.safe_load_all(Path(path).read_text(encoding="utf-8")):
            if not one:
                continue
            if (
                one["apiVersion"]
                .split("/")[0]
                .endswith((".coreos.com", ".sh", "gateway.networking.k8s.io"))
            ):
                left_out += 1
                continue
            try:
                kube.validate(one, version, strict=True)
                valid += 1
            except kube.ValidationError as error:
                wrong += 1
                print(f"{path}: {one['kind']} {one['metadata']['name']}: {error.message}")
    print(f"{version}: {valid} valid, {wrong} wrong, {left_out} of CRDs left out")
    return 1 if wrong or not valid else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
