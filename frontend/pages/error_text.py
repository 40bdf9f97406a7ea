"""An error as one sentence in the page's language.

The service words its errors in English. Chinese pages say the same, or the kind of error where a
message is of another make.
"""

from __future__ import annotations

from frontend.pages.i18n import ZH, Texts
from monitoring.error_messages import in_chinese
from pipeline.errors import DamoscopeError

#: What a kind of error is, by its code.
CHINESE_KINDS = {
    "invalid_image": "不是图片，或文件不完整",
    "too_large": "图片过大",
    "unsupported_format": "不支持的图片格式",
    "rate_limited": "请求过于频繁，请稍后再试",
    "unavailable": "服务暂不可用，请稍后再试",
    "unauthenticated": "请先登录",
    "forbidden": "没有权限",
    "timeout": "未能及时完成",
    "expired": "图片在队列中等待过久，已被放弃",
    "cancelled": "图片已撤回",
    "fetch_failed": "无法从该主机获取图片",
    "worker_lost": "处理这张图片的工作进程异常退出",
    "inference_failed": "模型推理出错",
    "overloaded": "排队的图片过多，来不及回答",
    "invalid_parameter": "参数无效",
    "idempotency_key_reused": "Idempotency-Key 已用于另一张图片",
    "malformed_request": "请求格式有误",
    "request_timeout": "请求未能及时收完",
    "body_too_large": "请求过大",
    "uri_too_long": "地址过长",
    "header_too_large": "请求头过大",
    "misdirected": "主机名不属于本服务",
}
_CHINESE_UNKNOWN = "处理出错，详情见服务日志"


def sentence(error: DamoscopeError, texts: Texts) -> str:
    """What went wrong, as plain text."""
    message = str(error)
    if texts is not ZH:
        return f"{message[:1].upper()}{message[1:]}."
    kind = CHINESE_KINDS.get(error.code, _CHINESE_UNKNOWN)
    return f"{in_chinese(message) or kind}。"
