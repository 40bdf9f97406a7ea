"""The pages' texts in English and Chinese, and which of the two a browser wants."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from types import MappingProxyType
from typing import Literal

from frontend.pages.monitor import texts as monitor

Language = Literal["en", "zh"]
Texts = Mapping[str, str]

EN: Texts = MappingProxyType(
    {
        "nav.detect": "Detect",
        "nav.monitor": "Monitor",
        "nav.traces": "Traces",
        "nav.report": "Report",
        "nav.api": "API",
        "status.workers.one": "1 worker ready",
        "status.workers": "{count} workers ready",
        "status.model": "{model} on {provider}",
        "status.queue": "queue {depth}",
        "status.none": "no worker is ready",
        "status.redis": "Redis does not answer",
        "status.away": "the service does not answer",
        "tab.one": "One image",
        "tab.several": "Several images",
        "image": "Image",
        "image.hint": "Drop a photo here, or click to choose one",
        "images": "Images",
        "examples": "Examples",
        "score": "Score threshold",
        "iou": "IoU threshold",
        "detect": "Detect",
        "empty.one": "The result appears here.",
        "empty.one.hint": "Drop or paste a photo, take one with the camera, or click an example.",
        "empty.several": "Results appear here.",
        "empty.several.hint": "Choose several photos; each of them leaves a trace of its own.",
        "first": "Choose an image first.",
        "found.none": "Nothing found",
        "found.none.hint": "No box scores {score} or more. A lower threshold shows weaker ones.",
        "found.one": "1 object found",
        "found": "{count} objects found",
        "boxes": "Detections",
        "label": "Label",
        "score.short": "Score",
        "file": "File",
        "timings": "Where the time went",
        "stage.upload": "Upload",
        "stage.queue_wait": "Queue wait",
        "stage.preprocess": "Preprocess",
        "stage.inference": "Inference",
        "stage.nms": "NMS",
        "trace": "Open the trace",
        "trace.short": "Trace",
        "download.json": "JSON",
        "download.image": "Image with boxes",
        "download.zip": "All images with boxes",
        "progress": "{done} of {count} images",
        "summary.one": "1 object in {images} images",
        "summary": "{found} objects in {images} images",
        "summary.failed": "{failed} failed",
        "traces.status": "Outcome",
        "traces.status.all": "All",
        "traces.status.ok": "Succeeded",
        "traces.status.error": "Failed",
        "traces.slower": "At least",
        "traces.refresh": "Refresh",
        "traces.auto": "Auto-refresh",
        "traces.time": "Time",
        "traces.outcome": "Outcome",
        "traces.found": "Found",
        "traces.duration": "Duration",
        "traces.stages": "Stages",
        "traces.empty": "No image has come yet.",
        "traces.empty.hint": "Detect one, and its trace is here a second later.",
        "traces.empty.filter": "No image matches this filter.",
        "traces.unreadable": "Traces cannot be read now: {reason}",
        "outcome.ok": "ok",
        "outcome.invalid": "invalid",
        "outcome.rejected": "rejected",
        "outcome.failed": "failed",
        "outcome.timeout": "timeout",
        "outcome.cancelled": "cancelled",
        "route.ui": "page",
        "route.api": "API",
        "trace.title": "Trace",
        "trace.pick": "Choose an image to see where its time went.",
        "trace.waiting": "This trace is not here yet. Its spans arrive within a second or two.",
        "trace.missing": "There is no such trace: it was never recorded, or is kept no longer.",
        "trace.spans": "{count} spans",
        "trace.close": "Close",
        "trace.json": "JSON",
        "trace.jaeger": "Jaeger",
        "trace.attributes": "Attributes",
        "trace.links": "Links",
        "trace.event": "Event",
        "trace.lines": "Log",
        "trace.link": "span {span} of trace {trace}",
        "service.damoscope-frontend": "frontend",
        "service.damoscope-worker": "worker",
        "report.period": "Last",
        "report.day": "day",
        "report.days": "days",
        "report.print": "Print",
        "report.writing": "Writing the report…",
        "report.unreadable": "The report cannot be made now.",
    }
    | monitor.EN
)
ZH: Texts = MappingProxyType(
    {
        "nav.detect": "检测",
        "nav.monitor": "监控",
        "nav.traces": "链路追踪",
        "nav.report": "报告",
        "nav.api": "接口",
        "status.workers.one": "1 个工作进程就绪",
        "status.workers": "{count} 个工作进程就绪",
        "status.model": "{model}，运行于 {provider}",
        "status.queue": "排队 {depth}",
        "status.none": "没有就绪的工作进程",
        "status.redis": "Redis 无响应",
        "status.away": "服务无响应",
        "tab.one": "单张图片",
        "tab.several": "多张图片",
        "image": "图片",
        "image.hint": "将照片拖到此处，或点击选择",
        "images": "图片",
        "examples": "示例",
        "score": "置信度阈值",
        "iou": "IoU 阈值",
        "detect": "检测",
        "empty.one": "检测结果显示在这里",
        "empty.one.hint": "拖入或粘贴照片，用摄像头拍摄，或点击一个示例。",
        "empty.several": "检测结果显示在这里",
        "empty.several.hint": "选择多张照片，每张都会留下各自的链路追踪。",
        "first": "请先选择图片。",
        "found.none": "未检测到目标",
        "found.none.hint": "没有置信度达到 {score} 的检测框，可以调低阈值查看更弱的结果。",
        "found.one": "检测到 1 个目标",
        "found": "检测到 {count} 个目标",
        "boxes": "检测框",
        "label": "类别",
        "score.short": "置信度",
        "file": "文件",
        "timings": "各阶段耗时",
        "stage.upload": "上传",
        "stage.queue_wait": "排队等待",
        "stage.preprocess": "预处理",
        "stage.inference": "推理",
        "stage.nms": "NMS",
        "trace": "查看链路追踪",
        "trace.short": "追踪",
        "download.json": "JSON",
        "download.image": "带框图片",
        "download.zip": "全部带框图片",
        "progress": "已完成 {done} / {count} 张",
        "summary.one": "{images} 张图片，共检测到 1 个目标",
        "summary": "{images} 张图片，共检测到 {found} 个目标",
        "summary.failed": "{failed} 张失败",
        "traces.status": "结果",
        "traces.status.all": "全部",
        "traces.status.ok": "成功",
        "traces.status.error": "失败",
        "traces.slower": "耗时不少于",
        "traces.refresh": "刷新",
        "traces.auto": "自动刷新",
        "traces.time": "时间",
        "traces.outcome": "结果",
        "traces.found": "目标数",
        "traces.duration": "耗时",
        "traces.stages": "阶段",
        "traces.empty": "还没有收到图片。",
        "traces.empty.hint": "检测一张图片，约一秒后即可在此查看它的链路追踪。",
        "traces.empty.filter": "没有符合筛选条件的图片。",
        "traces.unreadable": "暂时无法读取链路追踪：{reason}",
        "outcome.ok": "成功",
        "outcome.invalid": "无效",
        "outcome.rejected": "已拒绝",
        "outcome.failed": "失败",
        "outcome.timeout": "超时",
        "outcome.cancelled": "已取消",
        "route.ui": "页面",
        "route.api": "接口",
        "trace.title": "链路追踪",
        "trace.pick": "选择一张图片，查看它的时间花在了哪里。",
        "trace.waiting": "链路追踪尚未到达，各个 span 将在一两秒内送达。",
        "trace.missing": "没有这条链路追踪：从未记录，或已超过保留期限。",
        "trace.spans": "{count} 个 span",
        "trace.close": "关闭",
        "trace.json": "JSON",
        "trace.jaeger": "Jaeger",
        "trace.attributes": "属性",
        "trace.links": "关联",
        "trace.event": "事件",
        "trace.lines": "日志",
        "trace.link": "span {span}，属于追踪 {trace}",
        "service.damoscope-frontend": "前端",
        "service.damoscope-worker": "工作进程",
        "report.period": "最近",
        "report.day": "天",
        "report.days": "天",
        "report.print": "打印",
        "report.writing": "正在生成报告…",
        "report.unreadable": "暂时无法生成报告。",
    }
    | monitor.ZH
)

_TEXTS: dict[Language, Texts] = {"en": EN, "zh": ZH}


def language(accept_language: str | None) -> Language:
    """The language of a browser's `Accept-Language`: by its first entry, as the browser's own
    `navigator.language` has it, so that server and browser agree."""
    first = (accept_language or "").split(",")[0].strip().lower()
    return "zh" if first.split(";")[0].split("-")[0] == "zh" else "en"


def texts(accept_language: str | None) -> Texts:
    """The texts for a browser's `Accept-Language`."""
    return _TEXTS[language(accept_language)]


def both(key: str) -> str:
    """HTML of a text in both languages, of which the page's style shows one.

    For what is in the page before the browser has told its language.
    """
    return f'<span class="en">{escape(EN[key])}</span><span class="zh">{escape(ZH[key])}</span>'
