"""What a rule watches, in words: what it says while it has nothing else to say."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from monitoring.alerts.rules import Rule
from monitoring.alerts.units import shown
from monitoring.messages import Message

#: What each figure is called in a sentence.
NAMES: Mapping[str, Message] = MappingProxyType(
    {
        "qps": Message(en="requests a second", zh="每秒请求数"),
        "success_rate": Message(en="the success rate", zh="成功率"),
        "failure_rate": Message(en="the failure rate", zh="失败率"),
        "traffic_share": Message(
            en="the request rate as a share of that of the hour before",
            zh="请求速率与此前一小时之比",
        ),
        "latency_mean_s": Message(en="the mean latency", zh="平均延迟"),
        "latency_p50_s": Message(en="the latency's p50", zh="延迟 p50"),
        "latency_p95_s": Message(en="the latency's p95", zh="延迟 p95"),
        "latency_p99_s": Message(en="the latency's p99", zh="延迟 p99"),
        "stage_p95_s": Message(en="the stage's p95", zh="阶段耗时 p95"),
        "queue_depth": Message(en="the number of images that wait", zh="排队的图片数"),
        "queue_age_s": Message(
            en="the wait of the first image in a queue", zh="队首图片的等待时间"
        ),
        "queue_age_growth_s": Message(
            en="the growth of the wait in a queue", zh="排队等待时间的增长"
        ),
        "workers_ready": Message(en="the number of workers that are ready", zh="就绪工作进程数"),
        "queue_workers": Message(
            en="the fewest workers that a queue has", zh="工作进程最少的队列的工作进程数"
        ),
        "workers_fallback": Message(
            en="the number of workers on the CPU of a host with a GPU",
            zh="在有 GPU 的主机上改用 CPU 的工作进程数",
        ),
        "workers_silent": Message(
            en="the number of workers that send no metrics", zh="不上报指标的工作进程数"
        ),
        "utilisation": Message(en="the utilisation of the workers", zh="工作进程利用率"),
        "frontends_reporting": Message(
            en="the number of frontends that send metrics", zh="上报指标的前端数"
        ),
        "telemetry_losses": Message(
            en="the number of losses of telemetry", zh="遥测数据丢失的次数"
        ),
        "cpu": Message(en="the CPU use of the busiest host", zh="最忙主机的 CPU 占用"),
        "memory": Message(en="the memory use of the fullest host", zh="内存占用最高主机的占用"),
        "gpu_utilization": Message(en="the use of the busiest GPU", zh="最忙 GPU 的占用"),
    }
)


def watches(rule: Rule) -> Message:
    """`Fires when the success rate over 5 min, and over the last 30 s, is < 95 % for 1 min.`"""
    if rule.watches is not None:
        return rule.watches
    name = NAMES[rule.metric]
    where = ", ".join(f"{key}={value}" for key, value in rule.where.items())
    threshold = f"{rule.comparison} {shown(rule.threshold, rule.figure.unit)}"
    window, held = shown(rule.window, "s"), shown(rule.for_s, "s")
    last = shown(rule.recently.window_s, "s") if rule.recently else ""
    also = f"以及最近 {last} " if last else ""
    english = (
        f"Fires when {name.en}{f' ({where})' if where else ''}"
        f"{f' over {window}' if rule.window else ''}"
        f"{f', and over the last {last},' if last else ''} is {threshold}"
        f"{f' for {held}' if rule.for_s else ''}."
    )
    chinese = (
        f"当{f'最近 {window} {also}的' if rule.window else ''}{name.zh}"
        f"{f'（{where}）' if where else ''} {threshold}"
        f"{f' 持续 {held}' if rule.for_s else ''} 时触发。"
    )
    return Message(en=english, zh=chinese)
