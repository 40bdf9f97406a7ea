"""frontend.pages.model_view: the Model page's HTML."""

from __future__ import annotations

from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest

from frontend.api.models import (
    ModelName,
    ModelReport,
    ServedModel,
    SwitchReport,
    WorkerModel,
    WorkerOutcome,
)
from frontend.pages.i18n import EN, ZH
from frontend.pages.model_view import WORKERS_SHOWN, page
from models.catalogue import catalogue
from models.listing import ModelRow
from monitoring.figures.by_model import VersionFigures
from monitoring.figures.stats import Latency
from tests.frontend.pages.html import plain

SHIPPED = "damoyolo-ns-phone"
EVIL = "<img src=x onerror=alert(1)>"


def report(*rows: ModelRow, workers: int = 1, **more: Any) -> ModelReport:
    """Workers that run the first of these models, or the bundled one."""
    shipped = ModelRow(
        name=SHIPPED, state="bundled", version="1a2b", workers=workers, labels=("phone",),
        score_threshold=0.55, iou_threshold=0.5, card=catalogue()[SHIPPED].card, bytes=5_565_814,
        about=catalogue()[SHIPPED].about.en, about_zh=catalogue()[SHIPPED].about.zh,
    )  # fmt: skip
    rows = rows or (shipped,)
    running = [
        WorkerModel(
            worker=f"host.{number}", model=rows[0].name, version=rows[0].version or "",
            provider="cpu", fallback=False, busy=False,
        )
        for number in range(workers)
    ]  # fmt: skip
    given: dict[str, Any] = {"chosen": None, "switch": None, "problem": ""} | more
    return ModelReport(models=list(rows), workers=running, **given)


def switch(state: Any, **more: Any) -> SwitchReport:
    given: dict[str, Any] = {"problem": "", "outcomes": [], "waiting": 0} | more
    began = datetime(2026, 11, 28, tzinfo=UTC)
    return SwitchReport(name="mine", version="9f", began_at=began, state=state, **given)


def test_what_runs() -> None:
    """Model and workers, the card's figures with counts and intervals, and how long stages took."""
    speed = {"inference": Latency(mean=20.0, p50=19.5, p95=31.0, p99=40.0)}
    html = plain(unescape(page(report(), speed, EN, admin=False)))
    for text in (
        "damoyolo-ns-phone 1a2b · 1 worker", "host.0", "score 0.55, overlap (IoU) 0.5", "0.871",
        "0.81–0.93", "it never saw: 85 images, 88 objects", "36 / 42", "0.6 and more",
        "Not for decisions",
        "Source: models/README.md", "5,565,814 B", "Inference</td><td>", "Phones, in one class",
    ):  # fmt: skip
        assert text in html, text
    assert "data-use" not in html


def figures(version: str, **more: Any) -> VersionFigures:
    took = Latency(mean=20.0, p50=19.5, p95=31.0, p99=40.0)
    given: dict[str, Any] = {
        "images": 4000, "outcomes": {"ok": 3980, "failed": 20}, "stages_ms": {"inference": took},
        "detections": 4975, "detections_per_image": 1.25, "mean_score": 0.814,
    } | more  # fmt: skip
    return VersionFigures(
        model=SHIPPED, version=version, first_at=1_799_395_200, last_at=1_799_481_600, **given
    )


def test_versions() -> None:
    """Each version that had images stands beside the others, and which of them runs."""
    failed = {"outcomes": {"failed": 3}, "stages_ms": {}, "detections_per_image": None}
    found = report(figures=[figures("1a2b"), figures("9f", mean_score=None, **failed)])
    html = plain(page(found, {}, EN, admin=False))
    for text in (
        '<td><a href="traces?model=damoyolo-ns-phone&amp;model_version=1a2b"><code>1a2b</code></a>',
        "<code>9f</code></a></td>",
        "Images</td><td>4,000</td><td>4,000</td>", "Successful</td><td>99.5 %</td><td>0 %</td>",
        "Inference: median · 95 %</td><td>20 ms · 31 ms</td><td>–</td>", 'datetime="2027-01-08T',
        "Boxes an image</td><td>1.25</td><td>–</td>", "Mean score</td><td>0.81</td><td>–</td>",
    ):  # fmt: skip
        assert text in html, text
    assert html.count(f">{EN['model.versions.runs']}<") == 1
    for words in (EN, ZH):
        assert words["model.versions.unknown"] in page(report(), {}, words, admin=False)
        assert words["model.versions.none"] in page(report(figures=[]), {}, words, admin=False)


def test_who_serves_a_model() -> None:
    """A worker that takes only the images that ask for its model is marked."""
    found = report(workers=2)
    found.workers[1].serves = SHIPPED
    html = page(found, {}, EN, admin=False)
    assert html.count("for images that ask for it") == 1
    assert page(found, {}, ZH, admin=False).count("只处理指定它的图片") == 1
    assert EN["model.served"] not in html
    found.served = [ServedModel(name="mine", workers=1, waiting=7)]
    found.served.append(ServedModel(name="gone", workers=0, waiting=0))
    html = plain(page(found, {}, EN, admin=False))
    assert "<code>model=mine</code></td><td>1</td><td>7</td>" in html
    assert html.count("none at present") == 1


def test_in_chinese() -> None:
    """All of it, but for names and numbers."""
    html = plain(unescape(page(report(), {}, ZH, admin=True)))
    for text in (
        "正在运行",
        "1 个工作进程",
        "长边占画面的比例",
        "不得在无人复核",
        "最近 15 分钟没有图片",
        "仅手机一个类别",
    ):
        assert text in html, text
    for text in ("What runs", "Workers", "photographs", "phones,", "Phones"):
        assert text not in html, text


def test_who_may_switch() -> None:
    """Buttons are for `admin`, at models that workers could load, and not while workers are being
    switched."""
    rows = [
        ModelRow(name=name, state=state, workers=0)  # type: ignore[arg-type]
        for name, state in (("b", "bundled"), ("i", "installed"), ("d", "damaged"),
                            ("a", "available"), ("r", "running"))
    ]  # fmt: skip
    found = report(*rows, chosen=ModelName(name="i", version="1"))
    html = page(found, {}, EN, admin=True)
    assert [part.split('"')[0] for part in html.split('data-use="')[1:]] == ["", "b", "i"]
    assert "data-use" not in page(found, {}, EN, admin=False)
    going = found.model_copy(update={"switch": switch("running", waiting=2)})
    assert "data-use" not in page(going, {}, EN, admin=True)


def test_a_switch() -> None:
    """How far it is, what became of it at each worker, and why it ended early."""
    outcomes = [WorkerOutcome(worker="a", problem=""), WorkerOutcome(worker="b", problem="no file")]
    going = page(report(switch=switch("running", outcomes=outcomes, waiting=3)), {}, EN, admin=True)
    assert 'data-switching="1"' in going
    for text in ("being switched to mine 9f", "runs it", "no file", "3 not asked yet, or loading"):
        assert text in going
    ended = page(report(switch=switch("interrupted", problem="Redis is away")), {}, EN, admin=True)
    assert 'data-switching="0"' in ended
    assert "was interrupted" in ended
    assert "Redis is away" in ended


def test_nothing_runs() -> None:
    """Is said, with why it is not known if it is not."""
    row = ModelRow(name="mine", state="installed")
    assert "No worker is ready" in page(report(row, workers=0), {}, EN, admin=True)
    unknown = report(row, workers=0, problem="Redis does not answer")
    assert "is not known: Redis does not answer" in page(unknown, {}, EN, admin=True)


def test_an_imported_model() -> None:
    """What its import found out; what is not as an import writes it is left out."""
    precision = {
        "to": "int8", "photographs": 20, "boxes": 50, "found_again": 48, "new": 1,
        "score_difference_mean": 0.011, "score_difference_max": 0.2, "converted_ms": 12.5,
        "original_ms": 20.0,
    }  # fmt: skip
    row = ModelRow(
        name="mine", state="installed", version="9f", workers=1, labels=tuple("abcdefghijklmnop"),
        checked={"parity": {"scores": 1e-7, "boxes_px": 0.001, "pictures": 4},
                 "precision": precision},
    )  # fmt: skip
    html = unescape(page(report(row), {}, EN, admin=False))
    assert "on 4 test pictures: scores within 1.0e-07" in html
    assert "48 of the original's 50 boxes found again, 1 others" in html
    assert "<summary>16 classes</summary>a, b, c" in html
    assert "Nobody has given figures" in html
    other = row.model_copy(update={"checked": {"parity": {"scores": "?"}, "precision": [1]}})
    assert "test pictures" not in page(report(other), {}, EN, admin=False)


@pytest.mark.parametrize("words", [EN, ZH])
def test_names_are_text(words: Any) -> None:
    """What others have written is shown as it is, and is never HTML."""
    row = ModelRow(
        name=EVIL, state="damaged", version=EVIL, workers=1, labels=(EVIL,), about=EVIL,
        licence=EVIL, checked={"precision": {"to": EVIL}, "parity": {"pictures": EVIL}},
    )  # fmt: skip
    found = report(
        row, row.model_copy(update={"state": "installed"}), problem="",
        chosen=ModelName(name=EVIL, version=EVIL),
        switch=switch("done", problem=EVIL, outcomes=[WorkerOutcome(worker=EVIL, problem=EVIL)]),
    )  # fmt: skip
    html = page(found, {EVIL: Latency(mean=1, p50=1, p95=1, p99=1)}, words, admin=True)
    assert "<img" not in html
    assert (
        page(found.model_copy(update={"problem": EVIL}), {}, words, admin=True).count("<img") == 0
    )


def test_many_workers() -> None:
    """The first are listed, and the others counted."""
    html = plain(page(report(workers=WORKERS_SHOWN + 7), {}, EN, admin=False))
    assert html.count("<td>host.") == WORKERS_SHOWN
    assert "<p>+ 7</p>" in html
