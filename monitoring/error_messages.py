"""The service's messages about errors in Chinese, by rules: it words them in English."""

from __future__ import annotations

import re

#: What an English message looks like, and its Chinese with the same groups.
_CHINESE = (
    (r"the upload is empty", "文件是空的"),
    (r"this is a PDF, not a photograph", "这是 PDF 文件，不是照片"),
    (r"this is an SVG.*", "这是 SVG 或其他 XML 文件，不是照片"),
    (r"this is not an image of a format that we know", "无法识别这个文件的图片格式"),
    (r"the (\w+) is cut short: .*", r"这个 {0} 文件不完整，末尾缺失"),
    (r"the (\w+) cannot be decoded: .*", r"这个 {0} 文件已损坏，无法解码"),
    (r"the image's header is damaged: .*", "图片文件头已损坏"),
    (r"the result is kept no longer", "结果已过保留期"),
    (r"the uploaded file is kept no longer.*", "上传的文件已过保留期，请重新选择"),
    (r"(\w+) files \(HEIC, AVIF, video\) are not supported", "不支持 {0} 格式（HEIC、AVIF、视频）"),
    (r"(\w+) is not supported; send (.*)", "不支持 {0} 格式，请使用 {1}"),
    (r"the upload has more than the ([\d,]+) bytes allowed", "文件超过 {0} 字节的上限"),
    (r"the image has more than the ([\d,]+) pixels allowed", "图片超过 {0} 像素的上限"),
    (
        r"the image is (\d+) x (\d+), more than the ([\d,]+) pixels allowed",
        "图片为 {0} × {1}，超过 {2} 像素的上限",
    ),
    (r"the queue is full \((\d+) images waiting\).*", "队列已满（{0} 张图片在等待），请稍后再试"),
    (
        r"the queue is full \((\d+) MB of images waiting\).*",
        "队列已满（{0} MB 图片在等待），请稍后再试",
    ),
    (r"the queue is full; .*", "队列已满，请稍后再试"),
    (
        r"this client has (\d+) images waiting, its share .*",
        "您已有 {0} 张图片在等待，达到了您在队列中的份额，请稍后再试",
    ),
    (
        r"(\d+) images? (?:is|are) ahead, and the workers do ([\d.e+-]+) a second: an answer would "
        r"take about ([\d.e+-]+) s, .*",
        "前面还有 {0} 张图片，工作进程每秒处理 {1} 张，约需 {2} 秒，来不及回答，请稍后再试",
    ),
    (
        r"no worker serves model (\S+?)(?: at present)?; try again.*",
        "当前没有工作进程提供模型 {0}，请稍后再试",
    ),
    (r"model: no worker serves '(\S+)'; served are: .*", "没有工作进程提供模型 {0}"),
    (r"no worker is ready.*", "没有就绪的工作进程，请稍后再试"),
    (r"Redis does not answer.*", "Redis 无响应，请稍后再试"),
    (r"Redis is full.*", "Redis 内存已满，请稍后再试"),
    (r"Redis is loading its data.*", "Redis 正在加载数据，请稍后再试"),
    (r"Redis takes no writes.*", "Redis 当前是副本，不接受写入，请稍后再试"),
    (r"Redis is a replica .*", "Redis 副本与主节点失去连接，请稍后再试"),
    (r"Redis has too few replicas .*", "Redis 可用副本不足，不接受写入，请稍后再试"),
    (r"Redis cannot write to its disk.*", "Redis 无法写入磁盘，请稍后再试"),
    (r"Redis is busy with a script.*", "Redis 正忙于执行脚本，请稍后再试"),
    (r"Redis .*", "Redis 拒绝了请求，详情见服务日志"),
    (r"the service stops.*", "服务正在停止"),
    (r"no result within ([\d.]+) s.*", "{0} 秒内没有结果，图片已撤回"),
    (r"the image was withdrawn.*", "图片已撤回"),
    (r"the client went away.*", "客户端已断开，图片已撤回"),
    (r"this client sends more than (.*)", "此客户端的请求超过了限额（{0}）"),
    (r"this client has (\d+) images here; try again later", "您已上传 {0} 张图片，请稍后再试"),
    (
        r"this client's images here have more than ([\d,]+) bytes; .*",
        "您上传的图片超过 {0} 字节，请几分钟后再试",
    ),
    (r"the pages hold all the images they can; .*", "页面上的图片数已达上限，请几分钟后再试"),
    (r"the space for uploads is full; .*", "上传空间已满，请几分钟后再试"),
    (r"the disk is full; .*", "磁盘已满，暂不接收上传"),
    (r"the upload cannot be stored; .*", "无法保存上传的文件，请几分钟后再试"),
    (
        r"this client has (\d+) batches of images under way already",
        "您已有 {0} 批图片正在处理，请稍后再试",
    ),
    (
        r"(\d+) batches of images are under way already; .*",
        "已有 {0} 批图片正在处理，请稍后再试",
    ),
    (
        r"url: .* is none of the hosts that images are fetched from \(DAMOSCOPE_IMAGE_HOSTS\)",
        "此地址的主机不在允许获取图片的主机之列（DAMOSCOPE_IMAGE_HOSTS）",
    ),
    (r"url: (\S+) leads to another address, .*", "{0} 跳转到不允许的地址"),
    (r"url: (\S+) is in a network that .*", "{0} 所在的网络不允许获取图片"),
    (r"url: (\S+) answers (\d+), and no image", "{0} 返回 {1}，没有图片"),
    (r"url: .*", "无法识别此地址，请使用 https://主机/图片.jpg 的形式"),
    (r"(\S+) did not send the image within ([\d.]+) s", "{0} 未在 {1} 秒内发送图片"),
    (
        r"what (\S+) sends has more than the ([\d,]+) bytes allowed",
        "{0} 发送的内容超过 {1} 字节的上限",
    ),
    (r"tiles: this service does not cut pictures into tiles", "此服务不支持分块检测"),
    (
        r"tiles: (\w+) is not from 2 to (\d+) tiles; .*",
        "分块 {0} 不在 2 至 {1} 块之间，请减少分块，或设为自动",
    ),
    (
        r"tiles: (\w+) would be tiles of less than (\d+) pixels a side; this image of "
        r"(\d+) x (\d+) may have no tiles",
        "分块 {0} 的边长将小于 {1} 像素：{2} × {3} 的图片不能分块",
    ),
    (
        r"tiles: (\w+) would be tiles of less than (\d+) pixels a side; this image of "
        r"(\d+) x (\d+) may have at most (\w+) tiles",
        "分块 {0} 的边长将小于 {1} 像素：{2} × {3} 的图片最多可分为 {4} 块",
    ),
    (r"every worker that took this image died over it", "处理这张图片的工作进程都异常退出了"),
)


def in_chinese(message: str) -> str | None:
    """The same as a sentence without its full stop; None for a message of another make."""
    for pattern, chinese in _CHINESE:
        if found := re.fullmatch(pattern, message):
            return chinese.format(*found.groups())
    return None
