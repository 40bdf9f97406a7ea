"""`damoscope eval`: what the command does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from models.store import sha256_of
from pipeline.errors import ConfigurationError, DamoscopeError
from pipeline.settings import Settings
from run.evaluate import reading, sheets
from run.evaluate.classes import Classes, listed, matched
from run.evaluate.dataset import Dataset
from run.evaluate.detecting import Looked, look
from run.evaluate.figures import figures
from run.evaluate.matching import Judge
from run.evaluate.options import EvalOptions
from run.evaluate.progress import ImageProgress
from run.evaluate.report import EvalReport, JudgedData, JudgedModel, as_jpeg
from worker.model.session import Detector, configured


class NothingSeen(DamoscopeError):
    """No image could be looked at."""


def run(settings: Settings, wanted: EvalOptions) -> EvalReport:
    """Evaluate, print the report, and write it where asked.

    Raises ConfigurationError for data or options that cannot be used, NothingSeen.
    """
    if wanted.output is not None and wanted.output.exists() and not wanted.output.is_dir():
        raise ConfigurationError(f"--output {wanted.output}: it is no folder")
    began = datetime.now(UTC)
    dataset = reading.read(wanted.data, wanted.part, wanted.images)
    detector = Detector(settings)
    classes = matched(dataset.names, detector.spec.labels, wanted.pairs)
    _check_numbers(dataset, detector.spec.labels)
    with ImageProgress(len(dataset.images)) as progress:
        looked = look(settings, detector, dataset.images, classes, progress.each)
    if not looked.seen:
        name, why = looked.failed[0]
        raise NothingSeen(
            f"{wanted.data}: none of the {len(looked.failed):,} images can be looked at; {name}: "
            f"{why}"
        )
    report = _report(settings, wanted, began, dataset, detector, classes, looked)
    if wanted.output is not None:
        _write(report, wanted.output)
    print(report.as_json() if wanted.as_json else report.as_text())
    if wanted.output is not None and not wanted.as_json:
        print(f"\nwritten: {wanted.output / 'report.html'}")
    return report


def _report(
    settings: Settings, wanted: EvalOptions, began: datetime, dataset: Dataset, detector: Detector,
    classes: Classes, looked: Looked,
) -> EvalReport:  # fmt: skip
    file = configured(settings).file
    judge, spec, threshold = Judge(looked.seen, classes), detector.spec, detector.score_threshold
    matches = judge.matches(wanted.match_iou)
    report = EvalReport(
        version=version("damoscope"),
        began=began,
        model=JudgedModel(
            name=spec.name, file=file.name, sha256=sha256_of(file),
            input=f"{spec.height} x {spec.width}", provider=detector.provider,
            iou_threshold=detector.iou_threshold,
        ),
        data=JudgedData(
            folder=_called(wanted.data.resolve()), format=dataset.format, left_out=classes.left_out,
            unused=classes.unused, failed=looked.failed, notes=list(_notes(dataset, classes)),
        ),
        figures=figures(
            looked.seen, classes, judge, matches, threshold=threshold,
            match_iou=wanted.match_iou, false_alarms=wanted.false_alarms,
        ),
        stages_ms={
            stage: round(ms / len(looked.seen), 3) for stage, ms in looked.stages_ms.items()
        },
        missed=sheets.missed(looked.seen, matches, classes, threshold),
        false=sheets.false(looked.seen, matches, classes, threshold),
    )  # fmt: skip
    if wanted.output is not None:
        for name, faults in (("false.jpg", report.false), ("missed.jpg", report.missed)):
            if faults:
                report.sheets[name] = sheets.sheet(faults, threshold)
    return report


def _check_numbers(dataset: Dataset, labels: tuple[str, ...]) -> None:
    """Raises ConfigurationError for classes that neither the data nor the model name."""
    if dataset.names is not None:
        return
    for image in dataset.images:
        if len(image.classes) and image.classes.max() >= len(labels):
            raise ConfigurationError(
                f"{image.name}: class {image.classes.max()}, and the model has {len(labels)}; name "
                f"the data's classes in {dataset.folder / 'classes.txt'}, one a line"
            )


def _notes(dataset: Dataset, classes: Classes) -> Iterator[str]:
    """What somebody must know who reads the figures."""
    if not dataset.labelled:
        yield (
            "There is no file of labels: every image is taken to show nothing of what is looked "
            "for."
        )
    elif dataset.names is None:
        yield (
            "The data name no classes (data.yaml, classes.txt): their numbers are taken to be the "
            f"model's, 0 for {classes.labels[0]}."
        )
    if classes.left_out:
        yield f"Not judged, since the model does not know them: {listed(classes.left_out)}."
    if classes.unused and dataset.names is not None:
        yield f"Not judged, since the data do not name them: {listed(classes.unused)}."


def _write(report: EvalReport, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (
            ("report.json", report.as_json()), ("report.md", report.as_markdown()),
            ("report.html", report.as_html()),
        ):  # fmt: skip
            (folder / name).write_text(text, encoding="utf-8")
        for name, image in report.sheets.items():
            (folder / name).write_bytes(as_jpeg(image))
    except OSError as error:
        raise ConfigurationError(f"--output {folder}: cannot be written: {error}") from error


def _called(data: Path) -> str:
    """The folder's name; a file's with its folder."""
    return data.name if data.is_dir() else f"{data.parent.name}/{data.name}"
