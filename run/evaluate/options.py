"""The options of `damoscope eval`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer


@dataclass(frozen=True)
class EvalOptions:
    """All that the command line said, beside the settings."""

    data: Path
    part: str | None
    images: Path | None
    pairs: list[str]
    match_iou: float
    false_alarms: float
    output: Path | None
    as_json: bool


Data = Annotated[
    Path,
    typer.Option(help="Folder of images and labels (YOLO), its data.yaml, or COCO's JSON."),
]
Part = Annotated[
    str | None,
    typer.Option("--split", help="Part of the data, such as val. Default: test, or else val."),
]
Images = Annotated[Path | None, typer.Option(help="COCO: the folder of the images.")]
Pairs = Annotated[
    list[str] | None,
    typer.Option("--map", help='A class of the data by the model\'s name: "cell phone=phone".'),
]
MatchIou = Annotated[
    float, typer.Option(min=0.05, max=0.95, help="Overlap from which on an object is found.")
]
FalseAlarms = Annotated[
    float, typer.Option(min=0, help="Find the threshold for so many false boxes an image.")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder for the report: JSON, Markdown, HTML, pictures."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
