"""monitoring.reports.markdown, html and charts: the same figures, for people, in two languages."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any, get_args
from unicodedata import east_asian_width

import pytest

from frontend.pages import monitor_texts
from frontend.pages.error_text import CHINESE_KINDS
from monitoring.messages import Language
from monitoring.notify.deliveries import State
from monitoring.reports import format as written
from monitoring.reports import html, markdown
from monitoring.reports.advice import advise
from monitoring.reports.charts import nice
from monitoring.reports.schema import Report
from monitoring.reports.text import WORDS, cause_text, words
from pipeline import errors
from tests.monitoring.reports import example

HOSTILE = "<script>alert(1)</script> | `x` *y* [z](http://evil.example) \n# title"


class Page(HTMLParser):
    """What of a page a test asks for: its elements with their attributes, and its text."""

    VOID = frozenset({"meta", "base", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        return [
            found
            for name, found in self.elements
            if name == tag and attributes.items() <= found.items()
        ]


def troubled() -> Report:
    """A report with something in every section, some of it hostile."""
    found = example.report(
        requests={"ok": 900, "failed": 100},
        failures=example.failures("failed", 100, HOSTILE),
        detections=[{"label": HOSTILE, "count": 1, "share": 1.0, "mean_score": 0.5, "before": 0}],
        models=[example.model("1a", 3, model=HOSTILE), example.model("2b", 4)],
        clients=[{"client": HOSTILE, "requests": 1000, "share": 1.0, "before": None}],
        alerts={"known": True, "fired": [example.fired(example_trace_id="ab" * 16)]},
    )
    found.advice = advise(found)
    return found


@pytest.fixture(params=["en", "zh"])
def language(request: pytest.FixtureRequest) -> Language:
    chosen: Language = request.param
    return chosen


def test_html_says_the_figures(language: Language) -> None:
    """The figures of the report stand in the page."""
    page = Page(html.render(example.report(), language))
    assert page.open == []
    assert len(page.all("div", **{"class": "figure"})) == 5
    for figure in (
        "1,000",
        "99.95 %",
        "12.5/s",
        "80 ms",
        "+25 %",
        "900",
        "0.81",
        "10.0.0.7",
        "336",
    ):
        assert figure in page.text, figure
    assert page.all("p", **{"data-grade": "A"})
    assert {each["data-stage"] for each in page.all("tr") if "data-stage" in each} == {
        "upload", "queue_wait", "preprocess", "inference", "nms",
    }  # fmt: skip


def test_html_stands_alone(language: Language) -> None:
    """No script, and nothing that a browser would fetch; links lead to traces."""
    text = html.render(troubled(), language)
    page = Page(text)
    tags = {name for name, _ in page.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "form"}
    assert not [name for _, each in page.elements for name in each if name.startswith("on")]
    assert "url(" not in text
    assert "@import" not in text
    links = {each["href"] for each in page.all("a")}
    assert links == {f"https://phones.example/traces?trace={id * 16}" for id in ("c4", "ab")}


def test_html_of_untrusted_text(language: Language) -> None:
    """Messages, labels and clients are shown as they came, and are never markup."""
    page = Page(html.render(troubled(), language))
    assert not page.all("script")
    assert page.text.count("<script>alert(1)</script>") >= 4


def test_language(language: Language) -> None:
    """One language, throughout: a Chinese report has no English sentence of ours."""
    page = Page(html.render(example.report(), language))
    (root,) = page.all("html")
    assert root["lang"] == ("zh-Hans" if language == "zh" else "en")
    assert bool(re.search(r"[一-鿿]", page.text)) == (language == "zh")
    english = re.findall(r"[A-Za-z]{3,} [a-z]{3,} [a-z]{3,}", page.text)
    assert bool(english) == (language == "en")
    text = markdown.render(example.report(), language)
    assert bool(re.search(r"[一-鿿]", text)) == (language == "zh")


def test_causes() -> None:
    """The message, which is the service's own in Chinese, too, and any other stands there behind
    the kind of error; never nothing."""
    found = example.report(
        requests={"ok": 900, "invalid": 100}, failures=example.failures("invalid", 100)
    )
    assert "不是图片，或文件不完整：cut short" in markdown.render(found, "zh")
    assert "| cut short" in markdown.render(found, "en")
    known = "1 image is ahead, and the workers do 2.5 a second: an answer would take about 1 s, and"
    assert cause_text("overloaded", f"{known} 0.01 s are left; try again", "zh") == (
        "前面还有 1 张图片，工作进程每秒处理 2.5 张，约需 1 秒，来不及回答，请稍后再试"
    )
    assert cause_text("", "of another make", "zh") == "of another make"
    untold = example.failures("failed", 100, "")
    untold["causes"][0]["error_type"] = ""
    assert "not recorded" in markdown.render(example.report(failures=untold), "en")


def codes_of_images(root: type[errors.DamoscopeError] = errors.DamoscopeError) -> set[str]:
    """The codes of errors that an image can have."""
    kinds = root.__subclasses__()
    codes = {kind.code for kind in kinds if "code" in vars(kind)}  # else it travels nowhere
    of_no_image = {
        "configuration", "model", "not_found", "malformed_telemetry", "already_done",
        "switch_under_way",
    }  # fmt: skip
    return codes.union(*map(codes_of_images, kinds)) - of_no_image


def test_every_kind_of_error_has_a_name() -> None:
    """Each code that images fail with is one that reports can name, and Chinese pages, too."""
    named = {key.removeprefix("kind.") for key in WORDS if key.startswith("kind.")}
    assert named == codes_of_images() - {"cancelled"}  # which is no failure
    assert set(CHINESE_KINDS) == codes_of_images()


def test_models(language: Language) -> None:
    """Where several versions ran, each has its figures; of one there is nothing to compare."""
    new = example.model(
        "2b", 4000, outcomes={"ok": 3980, "failed": 20}, detections_per_image=1.25, mean_score=None
    )
    found = example.report(models=[new, example.model("1a", 90_000)])
    page, text = Page(html.render(found, language)), markdown.render(found, language)
    assert [each["data-version"] for each in page.all("tr", **{"data-model": "phones"})] == [
        "2b", "1a",
    ]  # fmt: skip
    assert re.search(
        r"phones 2b 2027-01-08 09:00 4,000 99.5\s% 20\sms 33\sms 1.25 –", page.text
    ), page.text  # fmt: skip
    assert re.search(r"\| phones +\| 1a +\| 2027-01-08 09:00 +\| +90,000 \| +100 % \|", text)
    alone = example.report(models=[new])
    assert not Page(html.render(alone, language)).all("tr", **{"data-model": "phones"})
    assert "| phones" not in markdown.render(alone, language)


def test_charts(language: Language) -> None:
    """A bar where requests came, a line where latency was measured, a cell for each hour."""
    page = Page(html.render(example.report(), language))
    bars = page.all("rect", **{"class": "o-ok"})
    assert [float(bar["height"]) for bar in bars] == [100.0]
    assert len(page.all("polyline")) == 3
    stages = [each for each in page.all("rect") if each.get("class", "").startswith("s-")]
    widths = [float(each["width"]) for each in stages]
    assert widths == pytest.approx([98.5, 98.5, 198.5, 548.5, 48.5])
    (heat,) = [i for i, (_, each) in enumerate(page.elements) if each.get("class") == "heat"]
    cells = [name for name, _ in page.elements[heat:] if name == "rect"]
    assert len(cells) >= 15


def test_markdown_tables_line_up(language: Language) -> None:
    """Every table has as many cells in each row as in its head, and reads as plain text."""
    text = markdown.render(troubled(), language)
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    assert len(tables) >= 8
    for table in tables:
        lines = table.splitlines()
        cells = {len(re.split(r"(?<!\\)\|", line)) for line in lines}
        assert len(cells) == 1, table
        widths = {sum(2 if east_asian_width(c) in "WF" else 1 for c in line) for line in lines}
        assert len(widths) == 1, table


def test_markdown_says_the_figures() -> None:
    """The figures of the report stand in the text, with their changes."""
    text = markdown.render(example.report(), "en")
    assert text.startswith("# Service report: the last 7 days\n")
    assert re.search(r"\| Requests +\| +1,000 \| +800 \| +\+25 % \|", text)
    assert re.search(r"\| phone +\| +900 \| +90 % \| +0\.81 \| +700 \|", text)
    assert "No price is set" in text
    assert "DAMOSCOPE_CPU_WORKER_PRICE" in text
    assert "## Rating: A" in text
    assert "[c4c4c4c4](<https://phones.example/traces?trace=" in text


def test_markdown_of_untrusted_text() -> None:
    """Untrusted text makes no markup: no tag, no link, no heading, no cell."""
    text = markdown.render(troubled(), "en")
    assert "<script" not in text
    assert not re.search(r"(?<!\\)\]\(http://evil", text)
    assert "\n# title" not in text
    assert r"\`x\` \*y\* \[z\](http\://evil.example) # title" in text


@pytest.mark.parametrize("days", [1, 7])
def test_an_empty_report(language: Language, days: int) -> None:
    """Nothing came: both say so in a few lines, with no empty tables."""
    nothing: dict[str, Any] = {
        "days": days,
        "before": None,
        "figures": [],
        "requests": {},
        "requests_before": None,
        "latency": None,
        "peak": None,
        "stages": [],
        "slowest": [],
        "detections": [],
        "clients": [],
        "calendar": [],
        "period": {"start_at": example.START_AT, "end_at": example.END_AT, "observed_s": 0},
        "workers": dict.fromkeys(
            ("mean", "hours", "utilisation", "queue_depth_max", "memory_max", "needed_at_peak")
        ),
    }
    empty = example.report(**nothing)
    expected = "暂无可报告的内容" if language == "zh" else "There is nothing to report yet."
    text, page = markdown.render(empty, language), Page(html.render(empty, language))
    assert expected in text
    assert expected in page.text
    assert "|" not in text
    assert not page.all("table")
    assert expected in markdown.summary(empty, language)


def test_summary(language: Language) -> None:
    """A few lines for a chat, with the rating, the advice and where the whole is."""
    text = markdown.summary(troubled(), language, "https://phones.example/report")
    assert len(text) < 1500
    assert text.endswith("https://phones.example/report")
    assert "**A**" in text
    assert "|" not in text.replace(r"\|", "")


COSTS = [
    ({"price_per_hour": 0.05, "total": 16.8, "per_1000_images": 16.8, "reason": ""}, "16.8 USD"),
    ({"reason": "mixed"}, "CPU and GPU workers both ran"),
    ({"reason": "no_workers"}, "No worker was seen"),
    ({"reason": "no_inference"}, "not known which price applies"),
]


@pytest.mark.parametrize(("changes", "expected"), COSTS)
def test_cost(changes: dict[str, Any], expected: str) -> None:
    """The cost, or why there is none."""
    cost = {"currency": "USD", "price_per_hour": None, "kind": "cpu", "total": None,
            "per_1000_images": None, **changes}  # fmt: skip
    assert expected in markdown.render(example.report(cost=cost), "en")


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "100 %"), (0.99999, "99.99 %"), (0.995, "99.5 %"), (0.5, "50 %"), (0.123, "12.3 %"),
     (0.004, "0.4 %"), (0.00001, "<0.01 %"), (0, "0 %")],
)  # fmt: skip
def test_shares(number: float, text: str) -> None:
    """Almost all is not all, and almost nothing is not nothing."""
    assert written.share(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.42, "0.42 ms"), (8.31, "8.3 ms"), (74.4, "74 ms"), (1000, "1 s"), (1250, "1.25 s")],
)
def test_durations(number: float, text: str) -> None:
    """As many digits as are of use."""
    assert written.milliseconds(number) == text


@pytest.mark.parametrize(
    ("seconds", "english", "chinese"),
    [(45, "45 s", "45 秒"), (720, "12 min", "12 分钟"), (5400, "1.5 h", "1.5 小时"),
     (90000, "25 h", "25 小时"), (604800, "7 d", "7 天")],
)  # fmt: skip
def test_lengths_of_time(seconds: float, english: str, chinese: str) -> None:
    """Days from two days on."""
    assert written.duration(seconds, "en") == english
    assert written.duration(seconds, "zh") == chinese


@pytest.mark.parametrize(
    ("highest", "top"), [(0, 1), (0.7, 0.8), (1, 1), (13, 15), (4400, 5000), (990, 1000)]
)
def test_ends_of_axes(highest: float, top: float) -> None:
    """A round number that everything fits under."""
    assert nice(highest) == pytest.approx(top)


@pytest.mark.parametrize(
    ("became", "told", "told_zh"),
    [
        ({"delivery": {"state": "sent", "sent": 2, "channels": 2}}, "sent", "已发送"),
        ({"delivery": {"state": "queued", "sent": 0, "channels": 2}}, "queued", "排队中"),
        ({"delivery": {"state": "no_channel", "sent": 0, "channels": 0}}, "no channel", "无渠道"),
        (
            {"delivery": {"state": "partly", "sent": 1, "channels": 2, "error": "mailto: refused"}},
            "sent to 1 of 2 (mailto: refused)",
            "已发送 1/2 (mailto: refused)",
        ),
        (
            {"delivery": {"state": "failed", "sent": 0, "channels": 1, "error": HOSTILE}},
            f"failed ({HOSTILE})",
            f"失败 ({HOSTILE})",
        ),
        (
            {"delivery": {"state": "held_back", "sent": 0, "channels": 1}},
            "held back, sent in a summary",
            "已合并，随汇总发送",
        ),
        ({"notified": True}, "sent, outcome not recorded", "已发送，结果未记录"),
        ({"silenced": True}, "silenced", "已静默"),
        ({}, "not sent", "未发送"),
    ],
)
def test_what_became_of_a_notification(
    language: Language, became: dict[str, Any], told: str, told_zh: str
) -> None:
    """Each state as the Monitor page says it, with the channels' causes, in every form."""
    report = example.report(alerts={"known": True, "fired": [example.fired("NoWorker", **became)]})
    said = told if language == "en" else told_zh
    page = Page(html.render(report, language))
    assert page.open == []
    assert re.sub(r"\s+", " ", said) in page.text
    lines = markdown.render(report, language).splitlines()
    (row,) = [line for line in lines if line.startswith("| NoWorker ")]
    assert row.count("|") - row.count("\\|") == 7
    assert said.split(" (")[0] in row


def test_the_page_and_reports_say_it_alike(language: Language) -> None:
    """The states of a notification have one wording."""
    page = {"en": monitor_texts.EN, "zh": monitor_texts.ZH}[language]
    for state in (*get_args(State), "unknown", "silenced", "none"):
        assert words(language)[f"notified.{state}"] == page[f"monitor.notified.{state}"]


def objective(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "sli": "latency", "target": 0.95, "threshold_s": 2, "window_s": 28 * 86400,
        "description": {"en": "Soon <b>enough</b>.", "zh": "足够<b>快</b>。"},
        "since_at": None, "requests": 2000, "bad": 150, "reached": 0.925, "left": -0.5,
        "burn_rate": 1.5, "burn_rates": [], **more,
    }  # fmt: skip


def test_objectives(language: Language) -> None:
    """Target, what was reached, what is left of the budget, also when it is overspent, and that the
    service is known for a part of the time only."""
    found = [objective("Latency"), objective("Quick", left=None, since_at=example.START_AT)]
    report = example.report(objectives=found)
    text, page = markdown.render(report, language), Page(html.render(report, language))
    target = "2 s 内 95 %" if language == "zh" else "95 % within 2 s"
    for said in (target, "92.5 %", "150 / 2,000", "−50 %", "1.5", "28"):
        assert said in text
        assert said in page.text.replace("\u00a0", " ")
    assert len(page.all("tr", **{"data-objective": "Quick"})) == 1
    assert "<b>enough" not in html.render(report, "en")
    since = "服务数据始于" if language == "zh" else "known only since"
    assert since in text
    assert since in page.text
    whole = markdown.render(example.report(objectives=found[:1]), language)
    assert since not in whole
    nothing = example.report(objectives=[objective("Latency", requests=0)])
    assert "Latency |" not in markdown.render(nothing, language)
