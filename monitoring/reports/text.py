"""The report's words in English and Chinese, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from monitoring.error_messages import in_chinese
from monitoring.messages import Language

Pair = tuple[str, str]

WORDS: Mapping[str, Pair] = MappingProxyType(
    {
        "title": ("Service report", "服务报告"),
        "title.days": ("the last {days} days", "最近 {days} 天"),
        "title.day": ("the last day", "最近 1 天"),
        "period": ("{start} to {end} ({zone})", "{start} 至 {end}（{zone}）"),
        "generated": ("Written {at}", "生成于 {at}"),
        "observed": (
            "The service was seen running for {observed} of {length}.",
            "其间 {length}中有 {observed}观测到服务在运行。",
        ),
        "observed.none": (
            "The service was not seen running in this time.",
            "此期间没有观测到服务在运行。",
        ),
        "compared": (
            "Changes are against the {days} days before ({start} to {end}).",
            "变化均与之前的 {days} 天（{start} 至 {end}）相比。",
        ),
        "compared.day": (
            "Changes are against the day before ({start} to {end}).",
            "变化均与前一天（{start} 至 {end}）相比。",
        ),
        "compared.part": (
            "The service was seen running for {observed} of that time.",
            "该时段内仅有 {observed}观测到服务在运行。",
        ),
        "compared.none": (
            "There is nothing to compare with: the time before was not measured, or is kept no "
            "longer.",
            "没有可比较的时段：此前未测量，或数据已过保留期。",
        ),
        "empty": (
            "No request came in this time. There is nothing to report yet.",
            "此期间没有收到请求，暂无可报告的内容。",
        ),
        "lede": (
            "{requests} requests, {success} of them successful; half were answered within {p50}, "
            "95 % within {p95}.",
            "共 {requests} 个请求，成功率 {success}；一半在 {p50} 内得到响应，95 % 在 {p95} 内。",
        ),
        "lede.peak": (
            "The busiest {step} began at {at}, with {rate} on average.",
            "最繁忙的{step}始于 {at}，平均 {rate}。",
        ),
        "lede.short": (
            "{requests} requests, {success} of them successful.",
            "共 {requests} 个请求，成功率 {success}。",
        ),
        "weekdays": ("Mon Tue Wed Thu Fri Sat Sun", "周一 周二 周三 周四 周五 周六 周日"),
        "minute": ("minute", "一分钟"),
        "minutes": ("{count} minutes", " {count} 分钟"),
        "seconds": ("{count} seconds", " {count} 秒"),
        # headings
        "rating": ("Rating", "评级"),
        "advice": ("What to do", "建议"),
        "figures": ("In figures", "关键数据"),
        "traffic": ("Requests over time", "请求趋势"),
        "hours": ("Busiest hours", "繁忙时段"),
        "latency": ("Latency", "延迟"),
        "stages": ("Where the time goes", "时间花在哪里"),
        "failures": ("What went wrong", "失败与原因"),
        "slowest": ("Slowest images", "最慢的图片"),
        "failed": ("Last failed images", "最近失败的图片"),
        "detections": ("What was found", "检测结果"),
        "models": ("By model", "按模型"),
        "clients": ("Who asked", "按客户端"),
        "workers": ("Workers and cost", "工作进程与成本"),
        "alerts": ("Alerts", "告警"),
        "notes": ("How these figures are made", "数据说明"),
        # objectives
        "objectives": ("Objectives", "服务目标"),
        "objective": ("Objective", "目标"),
        "objective.target": ("Target", "目标值"),
        "objective.within": ("{target} within {threshold}", "{threshold} 内 {target}"),
        "objective.reached": ("Reached", "实际达到"),
        "objective.bad": ("Bad", "不合格"),
        "objective.left": ("Budget left", "剩余错误预算"),
        "objective.burn": ("Burn rate", "消耗速度"),
        "objectives.text": (
            "Each is over its own window up to now, {windows}; the error budget is what may be "
            "bad. At a burn rate of 1, here of the last hour, it lasts just as long.",
            "各目标均按自己的时段（{windows}）统计至今；错误预算是允许不合格的部分。"
            "消耗速度（取最近 1 小时）为 1 时，预算恰好够用。",
        ),
        "objectives.since": (
            "The service is known only since {since}: the figures are of that time.",
            "服务数据始于 {since}，以上仅为此后的数据。",
        ),
        # figures
        "figure": ("Figure", "指标"),
        "value": ("Value", "数值"),
        "before": ("Before", "此前"),
        "change": ("Change", "变化"),
        "figure.requests": ("Requests", "请求数"),
        "figure.success_rate": ("Success rate", "成功率"),
        "figure.qps_mean": ("Mean rate", "平均 QPS"),
        "figure.qps_peak": ("Peak rate", "峰值 QPS"),
        "figure.latency_p50": ("Latency p50", "延迟 p50"),
        "figure.latency_p95": ("Latency p95", "延迟 p95"),
        "figure.latency_p99": ("Latency p99", "延迟 p99"),
        "figure.detections": ("Detections", "检测数"),
        "figure.detections_per_image": ("Detections per image", "每图检测数"),
        "figure.utilisation": ("Worker utilisation", "工作进程利用率"),
        "figure.worker_hours": ("Worker hours", "工作进程累计工时"),
        "figure.cost_per_1000": ("Cost per 1,000 images", "每千张图片成本"),
        # columns
        "outcome": ("Outcome", "结果"),
        "requests": ("Requests", "请求数"),
        "share": ("Share", "占比"),
        "stage": ("Stage", "阶段"),
        "mean": ("Mean", "平均"),
        "p95.before": ("p95 before", "此前 p95"),
        "hour": ("Hour", "时段"),
        "cause": ("Cause", "原因"),
        "count": ("Count", "次数"),
        "last": ("Last", "最近"),
        "trace": ("Trace", "追踪"),
        "traces": ("Traces", "追踪"),
        "time": ("Time", "时间"),
        "duration": ("Duration", "耗时"),
        "longest": ("Longest stage", "最长阶段"),
        "label": ("Label", "类别"),
        "score": ("Mean score", "平均置信度"),
        "client": ("Client", "客户端"),
        "alert": ("Alert", "告警"),
        "notification": ("Notification", "通知"),
        "severity": ("Severity", "级别"),
        "times": ("Times", "次数"),
        "for": ("For", "持续"),
        "criterion": ("Criterion", "标准"),
        "grade": ("Grade", "等级"),
        "bounds": ("A · B · C · D", "A · B · C · D"),
        "total": ("all", "合计"),
        "others": ("{count} more", "其余 {count} 项"),
        # stages and outcomes
        "stage.upload": ("Upload", "上传"),
        "stage.queue_wait": ("Queue wait", "排队等待"),
        "stage.preprocess": ("Preprocess", "预处理"),
        "stage.inference": ("Inference", "推理"),
        "stage.nms": ("NMS", "NMS"),
        "outcome.ok": ("ok", "成功"),
        "outcome.invalid": ("invalid", "无效"),
        "outcome.rejected": ("rejected", "已拒绝"),
        "outcome.failed": ("failed", "失败"),
        "outcome.timeout": ("timeout", "超时"),
        "outcome.cancelled": ("cancelled", "已取消"),
        # kinds of errors, by pipeline.errors' codes
        "kind.invalid_image": ("not an image, or cut short", "不是图片，或文件不完整"),
        "kind.too_large": ("image too large", "图片过大"),
        "kind.unsupported_format": ("format not supported", "不支持的格式"),
        "kind.invalid_parameter": ("invalid parameter", "参数无效"),
        "kind.idempotency_key_reused": (
            "Idempotency-Key used for another image",
            "Idempotency-Key 已用于另一张图片",
        ),
        "kind.malformed_request": ("malformed request", "请求格式有误"),
        "kind.body_too_large": ("request too large", "请求过大"),
        "kind.uri_too_long": ("address too long", "地址过长"),
        "kind.header_too_large": ("header too large", "请求头过大"),
        "kind.request_timeout": ("request not complete in time", "请求未能及时收完"),
        "kind.unauthenticated": ("not signed in", "未登录"),
        "kind.forbidden": ("not allowed", "没有权限"),
        "kind.misdirected": ("under another host's name", "主机名不属于本服务"),
        "kind.rate_limited": ("too many requests", "请求过于频繁"),
        "kind.unavailable": ("service not available", "服务不可用"),
        "kind.overloaded": ("cannot be answered in time", "来不及回答"),
        "kind.timeout": ("not done in time", "未能及时完成"),
        "kind.expired": ("expired in the queue", "在队列中过期"),
        "kind.fetch_failed": ("image could not be fetched", "无法获取图片"),
        "kind.worker_lost": ("worker lost", "工作进程异常退出"),
        "kind.inference_failed": ("inference failed", "推理出错"),
        "severity.info": ("info", "提示"),
        "severity.warning": ("warning", "警告"),
        "severity.critical": ("critical", "严重"),
        # sections' sentences
        "peak": (
            "On average {mean} while the service ran; at most {peak} over one {step}, from {at}.",
            "服务运行期间平均 {mean}；峰值 {peak}（{step}均值），始于 {at}。",
        ),
        "peak.minutes": (
            "On average {mean} while the service ran; at most {peak} over {step}, from {at}.",
            "服务运行期间平均 {mean}；峰值 {peak}（{step}均值），始于 {at}。",
        ),
        "hours.text": (
            "Most requests came in the hours beginning at {hours} ({zone}).",
            "请求最多的时段始于 {hours}（{zone}）。",
        ),
        "failures.none": ("Every request succeeded.", "全部请求均成功。"),
        "failures.text": (
            "{count} of {total} requests did not succeed ({share}).",
            "{total} 个请求中有 {count} 个未成功（{share}）。",
        ),
        "failures.looked": (
            "Causes are counted over the last {looked} failed images.",
            "原因统计自最近 {looked} 张失败的图片。",
        ),
        "failures.untraced": (
            "No trace of them is kept any longer, so their causes are not known.",
            "它们的链路追踪已不再保留，原因不详。",
        ),
        "unknown": ("not recorded", "未记录"),
        "detections.none": ("Nothing was found in this time.", "此期间没有检测到目标。"),
        "models.text": (
            "Workers ran {count} models, or versions of one. Images are counted once a worker has "
            "had them in hand; each version's first ones came at the time that is given.",
            "此期间工作进程运行过 {count} 个模型或版本。统计的是工作进程经手的图片；"
            "所列时间为该版本收到首批图片的时间。",
        ),
        "model": ("Model", "模型"),
        "model.version": ("Version", "版本"),
        "model.since": ("Since", "始于"),
        "model.images": ("Images", "图片"),
        "model.success": ("Successful", "成功率"),
        "model.p50": ("Inference p50", "推理 p50"),
        "model.p95": ("Inference p95", "推理 p95"),
        "model.boxes": ("Boxes an image", "每图检测框"),
        "clients.off": (
            "Clients are not counted (DAMOSCOPE_CLIENTS=off).",
            "未按客户端统计（DAMOSCOPE_CLIENTS=off）。",
        ),
        "clients.hashed": (
            "Clients are shown as hashes of their addresses.",
            "客户端以地址的哈希值显示。",
        ),
        "clients.none": ("No client was counted in this time.", "此期间没有客户端计数。"),
        "client.other": ("other", "其他"),
        "client.unknown": ("unknown", "未知"),
        "workers.none": ("No worker was seen in this time.", "此期间没有观测到工作进程。"),
        "workers.text": (
            "{mean} workers on average, {hours} worker hours in all, busy {utilisation} of the "
            "time.",
            "平均 {mean} 个工作进程，累计运行 {hours} 小时，利用率 {utilisation}。",
        ),
        "workers.busiest": (
            "In the busiest ten minutes they were busy {busiest} of the time.",
            "最繁忙的十分钟内利用率为 {busiest}。",
        ),
        "workers.image": (
            "An image keeps a worker busy for {busy}, so one worker can run {rate} at most; the "
            "peak needs {needed} kept at {target} utilisation.",
            "每张图片占用工作进程 {busy}，单个工作进程最多 {rate}；峰值需要 {needed}"
            "（利用率按 {target} 计）。",
        ),
        "workers.one": ("1 worker", "1 个工作进程"),
        "workers.many": ("{count} workers", "{count} 个工作进程"),
        "workers.batch": ("{batch} images per batch on average.", "平均每批 {batch} 张图片。"),
        "workers.queue": (
            "The queue held at most {depth} images; the oldest waited {age}.",
            "队列最多 {depth} 张图片，最久等待 {age}。",
        ),
        "workers.hosts": (
            "Memory was at most {memory} full; CPUs were at most {cpu} busy over {step}.",
            "内存占用最高 {memory}；CPU 利用率最高 {cpu}（{step}均值）。",
        ),
        "cost.text": (
            "{hours} worker hours at {price} an hour cost {total}: {each} per 1,000 images.",
            "工作进程累计 {hours} 小时，每小时 {price}，合计 {total}：每千张图片 {each}。",
        ),
        "cost.no_price": (
            "No price is set, so there is no cost: set DAMOSCOPE_CPU_WORKER_PRICE or "
            "DAMOSCOPE_GPU_WORKER_PRICE to what one worker costs for an hour.",
            "未设置价格，无法计算成本：请将 DAMOSCOPE_CPU_WORKER_PRICE 或 "
            "DAMOSCOPE_GPU_WORKER_PRICE 设为一个工作进程每小时的价格。",
        ),
        "cost.mixed": (
            "CPU and GPU workers both ran, and their hours are not told apart: no cost is given.",
            "CPU 与 GPU 工作进程都运行过，工时无法区分，因此不给出成本。",
        ),
        "cost.no_workers": (
            "No worker was seen, so there is no cost.",
            "没有观测到工作进程，因此没有成本。",
        ),
        "cost.no_inference": (
            "No worker ran an image, so it is not known which price applies.",
            "没有工作进程处理过图片，无法确定适用的价格。",
        ),
        "alerts.unknown": (
            "The history of alerts could not be read.",
            "无法读取告警历史。",
        ),
        "alerts.none": ("No alert fired in this time.", "此期间没有告警触发。"),
        "alerts.firing": ("firing now", "正在触发"),
        "notified.sent": ("sent", "已发送"),
        "notified.partly": ("sent to {sent} of {channels}", "已发送 {sent}/{channels}"),
        "notified.queued": ("queued", "排队中"),
        "notified.failed": ("failed", "失败"),
        "notified.held_back": ("held back, sent in a summary", "已合并，随汇总发送"),
        "notified.no_channel": ("no channel", "无渠道"),
        "notified.unknown": ("sent, outcome not recorded", "已发送，结果未记录"),
        "notified.silenced": ("silenced", "已静默"),
        "notified.none": ("not sent", "未发送"),
        "advice.none": (
            "Nothing in these figures calls for action.",
            "这些数据中没有需要处理的问题。",
        ),
        "advice.figure": ("Figure: {name} = {value}", "依据：{name} = {value}"),
        # rating
        "rating.rule": (
            "The rating is the worst grade of its criteria, each against fixed bounds.",
            "评级取各项标准中最差的等级，每项均对照固定界限。",
        ),
        "rating.none": (
            "No rating: it takes at least {least} requests with a valid image.",
            "暂无评级：至少需要 {least} 个有效图片的请求。",
        ),
        "criterion.success": ("Success of valid images", "有效图片的成功率"),
        "criterion.latency": ("Latency p95", "延迟 p95"),
        "criterion.queue_wait": ("Queue wait p95", "排队等待 p95"),
        "criterion.critical": ("Time with a critical alert firing", "严重告警持续的时间占比"),
        "at_least": ("at least {bounds}", "不低于 {bounds}"),
        "at_most": ("at most {bounds}", "不高于 {bounds}"),
        # notes
        "note.counts": (
            "Counts are exact. Percentiles come from histograms merged over all processes, never "
            "from averaged percentiles; latency is of requests that succeeded.",
            "计数是精确的。百分位数取自合并了所有进程的直方图，从不对百分位数求平均；"
            "延迟只统计成功的请求。",
        ),
        "note.utilisation": (
            "Utilisation is the share of the workers' time in which they had an image in hand.",
            "利用率是工作进程手头有图片的时间占比。",
        ),
        "note.none": (
            "– means that it was not measured.",
            "“–” 表示未测量。",
        ),
    }
)


def words(language: Language) -> Mapping[str, str]:
    """The words of one language."""
    index = 1 if language == "zh" else 0
    return {key: pair[index] for key, pair in WORDS.items()}


def stage_name(stage: str, language: Language) -> str:
    """A stage as people call it."""
    return words(language).get(f"stage.{stage}", stage)


def cause_text(error_type: str | None, message: str | None, language: Language) -> str:
    """Why an image failed: the message, which was recorded in English. Where it is of another make
    than the service's own, Chinese reports put it behind the kind of error. Untrusted text; empty
    when nothing is known."""
    kind = words(language).get(f"kind.{error_type}", error_type or "")
    if language == "zh" and message:
        return in_chinese(message) or (f"{kind}：{message}" if kind else message)
    return message or kind
