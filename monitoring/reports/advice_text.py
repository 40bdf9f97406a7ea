"""What each advice says, in English and Chinese, by its code."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

ADVICE: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "fallback": (
            "Up to {count} workers at once ran on the CPU where they were to use a GPU. Look at "
            "their log: a driver or CUDA library is missing, or the GPU was lost.",
            "最多同时有 {count} 个工作进程未使用应使用的 GPU，而是在 CPU 上运行。请查看其日志："
            "可能缺少驱动或 CUDA 库，或 GPU 已失联。",
        ),
        "outcome_invalid": (
            "{count} requests ({share}) carried no usable image; most often: {cause}. Look at what "
            "these clients send.",
            "{count} 个请求（{share}）不含可用的图片，最常见的原因：{cause}。"
            "请检查这些客户端发送的内容。",
        ),
        "outcome_rejected": (
            "{count} requests ({share}) were turned away; most often: {cause}. More workers, a "
            "longer queue (DAMOSCOPE_QUEUE_MAX) or a higher rate limit would take them.",
            "{count} 个请求（{share}）被拒绝，最常见的原因：{cause}。"
            "可增加工作进程、加长队列（DAMOSCOPE_QUEUE_MAX）或提高限流。",
        ),
        "outcome_failed": (
            "{count} requests ({share}) failed in the service; most often: {cause}. Open one of "
            "their traces, and look at the worker's log of that time.",
            "{count} 个请求（{share}）在服务内部失败，最常见的原因：{cause}。"
            "请打开其链路追踪，并查看当时的工作进程日志。",
        ),
        "outcome_timeout": (
            "{count} requests ({share}) had no result in time; most often: {cause}. More workers "
            "shorten the wait; a longer `timeout` only hides it.",
            "{count} 个请求（{share}）未能及时得到结果，最常见的原因：{cause}。"
            "增加工作进程可缩短等待；延长 `timeout` 只会掩盖问题。",
        ),
        "waiting": (
            "Images spend {share} of their time waiting in the queue (p95 {p95}). The peak of "
            "{peak} needs {needed} workers; on average {mean} ran.",
            "图片有 {share} 的时间在排队（p95 为 {p95}）。峰值 {peak} 需要 {needed} 个工作进程，"
            "而平均只有 {mean} 个。",
        ),
        "bursts": (
            "Images spend {share} of their time waiting in the queue (p95 {p95}), though {mean} "
            "workers ran on average: the load comes in bursts. Spread it, or run more workers at "
            "the busiest hours.",
            "图片有 {share} 的时间在排队（p95 为 {p95}），而平均有 {mean} 个工作进程："
            "负载呈突发状。可错开请求，或在繁忙时段增加工作进程。",
        ),
        "saturated": (
            "In the busiest ten minutes the workers were busy {share} of the time; on average "
            "{mean} ran. Above {target} any burst makes a queue: add workers.",
            "最繁忙的十分钟内，工作进程的利用率为 {share}（平均运行 {mean} 个）。"
            "超过 {target} 后任何突发都会造成排队：请增加工作进程。",
        ),
        "oversized": (
            "Even in the busiest ten minutes the workers were busy only {share} of the time. The "
            "peak of {peak} needs {needed} where {mean} ran on average: fewer would hold it.",
            "即使在最繁忙的十分钟内，工作进程的利用率也只有 {share}。"
            "峰值 {peak} 只需要 {needed} 个，而平均运行了 {mean} 个：可以减少。",
        ),
        "preprocess": (
            "Decoding and resizing take {share} of the time (p95 {p95}) at {size} per image on "
            "average. The model sees a small image anyway: let clients send smaller ones.",
            "解码与缩放占 {share} 的时间（p95 为 {p95}），图片平均 {size}。"
            "模型的输入本来就小：让客户端发送更小的图片。",
        ),
        "upload": (
            "Uploads take {share} of the time (p95 {p95}) at {size} per image on average: the "
            "network is slow, or the images are large. Send smaller ones.",
            "上传占 {share} 的时间（p95 为 {p95}），图片平均 {size}：网络较慢或图片较大，"
            "可发送更小的图片。",
        ),
        "inference": (
            "Inference takes {share} of the time, with a p95 of {p95} on CPU. A smaller model, "
            "more threads per worker or a GPU would make it faster.",
            "推理占 {share} 的时间，在 CPU 上 p95 为 {p95}。可改用更小的模型、"
            "增加每个工作进程的线程数，或使用 GPU。",
        ),
        "slower": (
            "Latency p95 rose from {before} to {now}. {stage} grew most, from {stage_before} to "
            "{stage_now}.",
            "延迟 p95 从 {before} 升至 {now}。增长最多的是{stage}，"
            "从 {stage_before} 升至 {stage_now}。",
        ),
        "memory": (
            "Memory of a host was {share} full. Fewer workers on it, a smaller model or more "
            "memory keep it from being killed.",
            "有主机的内存占用达到 {share}。减少其上的工作进程、改用更小的模型或增加内存，"
            "可避免进程被系统终止。",
        ),
        "quiet": (
            "No request has come for {time}. If that is not as intended, look at the clients and "
            "at the way to the service.",
            "已有 {time}没有收到请求。如果这不是预期情况，请检查客户端及其到服务的网络。",
        ),
        "noisy": (
            "Alert {name} fired {times} times. If nobody acts on it, raise its threshold or its "
            "`for` in alerts.yaml.",
            "告警 {name} 触发了 {times} 次。如果没有人处理，"
            "请在 alerts.yaml 中提高其阈值或 `for`。",
        ),
    }
)
