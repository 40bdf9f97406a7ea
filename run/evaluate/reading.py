"""Which kind of labels a folder has."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import ConfigurationError
from run.evaluate import coco, yolo
from run.evaluate.dataset import Dataset

YAML = (".yaml", ".yml")
CONFIGS = ("data.yaml", "data.yml", "dataset.yaml")
#: The JSON files that hold COCO's annotations, below the data's folder.
ANNOTATIONS = ("annotations/instances_*.json", "annotations/*.json", "*.coco.json", "*/*.coco.json")


def read(data: Path, part: str | None, images: Path | None) -> Dataset:
    """A folder, a data.yaml, or a file of COCO's annotations. Raises ConfigurationError."""
    if data.is_file():
        if data.suffix in YAML:
            return yolo.read(data.parent, data, part)
        if data.suffix == ".json":
            return coco.read(data, images)
        raise ConfigurationError(f"{data}: neither a folder, nor a data.yaml, nor COCO's JSON")
    if not data.is_dir():
        raise ConfigurationError(f"{data}: there is no such folder")
    for name in CONFIGS:
        if (data / name).is_file():
            return yolo.read(data, data / name, part)
    if found := _annotations(data, part):
        return coco.read(found, images)
    return yolo.read(data, None, part)


def _annotations(folder: Path, part: str | None) -> Path | None:
    patterns = ANNOTATIONS if (folder / "labels").is_dir() else (*ANNOTATIONS, "*.json")
    for pattern in patterns:
        found = [
            path for path in sorted(folder.glob(pattern))
            if part is None or part in path.stem or part == path.parent.name
        ]  # fmt: skip
        if len(found) > 1:
            raise ConfigurationError(
                f"{folder}: several files of annotations: {', '.join(p.name for p in found)}; name "
                "one of them with --data"
            )
        if found:
            return found[0]
    return None
