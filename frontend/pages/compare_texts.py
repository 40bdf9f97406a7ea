"""Texts of comparisons, in English and Chinese."""

from __future__ import annotations

EN = {
    "compare": "What is different",
    "compare.ask": "What is different about the slowest 5\u00a0%?",
    "compare.ask.part": "What is different about the selected ones?",
    "compare.slowest": "The slowest {share}: {selected} images that took {took}, "
    "against {rest} others.",
    "compare.selected_of": "{selected} images that took {took}, against {rest} others.",
    "compare.from": "{least} or longer",
    "compare.between": "{least} to {most}",
    "compare.few": "Too few to say anything: {selected} selected and {rest} others; it takes "
    "{least} of each.",
    "compare.looked": "Stages are those of {sampled} images, spread over the time; attributes "
    "other than outcome, code, label, client, worker, model and route those of {traced} whose "
    "spans were read. Only what is hardly chance (1 in 15,000) is shown.",
    "compare.sampled": "There are too many to count what each has: outcome, code, label, client, "
    "worker, model and route are those of {counted}, drawn over the whole time. A share is at most "
    "{points} percentage points off, in 19 of 20 cases.",
    "compare.inexact": "Not all images were looked at: only the newest that could be had.",
    "compare.stages": "Where the time goes",
    "compare.stages.none": "No stage is known of enough of them.",
    "compare.values": "What they have more often, or less",
    "compare.values.none": "No value is surely more frequent on one side.",
    "compare.numbers": "Numbers, by their medians",
    "compare.numbers.none": "No number differs surely.",
    "compare.elsewhere": "Elsewhere",
    "compare.column.stage": "Stage",
    "compare.column.selected": "Selected",
    "compare.column.rest": "Others",
    "compare.column.extra": "More, on the mean",
    "compare.column.attribute": "Attribute",
    "compare.column.lift": "As often",
    "compare.column.span": "Span",
    "compare.column.difference": "A − B",
    "compare.pair": "Two traces",
    "compare.with": "Compare",
    "compare.pick": "Choose the image to compare with from the list.",
    "compare.unpick": "Cancel",
    "compare.spans": "Spans, by how much they differ",
    "compare.spans.none": "There are none.",
    "compare.unlike": "Attributes that differ",
    "compare.unlike.none": "None differs.",
    "compare.alike": "{count} attributes are the same",
    "compare.span.request": "request",
}
ZH = {
    "compare": "有何不同",
    "compare.ask": "最慢的 5\u00a0% 有何不同？",
    "compare.ask.part": "所选图片有何不同？",
    "compare.slowest": "最慢的 {share}：{selected} 张图片耗时 {took}，与其余 {rest} 张对比。",
    "compare.selected_of": "{selected} 张图片耗时 {took}，与其余 {rest} 张对比。",
    "compare.from": "{least} 或更长",
    "compare.between": "{least} 至 {most}",
    "compare.few": "数量太少，无法得出结论：所选 {selected} 张，其余 {rest} 张；"
    "每边至少需要 {least} 张。",
    "compare.looked": "阶段耗时取自均匀分布于该时段的 {sampled} 张图片；除结果、错误代码、类别、"
    "客户端、工作进程、模型和入口外，其他属性取自读取了 span 的 {traced} 张图片。"
    "只显示几乎不可能出于偶然（1/15,000）的差异。",
    "compare.sampled": "图片太多，无法逐一统计：结果、错误代码、类别、客户端、工作进程、模型和入口"
    "取自在整个时段内抽取的 {counted} 张图片。20 次中有 19 次，占比的误差不超过 "
    "{points} 个百分点。",
    "compare.inexact": "并未查看全部图片：只查看了能取得的最新图片。",
    "compare.stages": "时间花在哪里",
    "compare.stages.none": "已知阶段耗时的图片太少。",
    "compare.values": "哪些取值更常见或更少见",
    "compare.values.none": "没有哪个取值在某一边明显更常见。",
    "compare.numbers": "数值（中位数）",
    "compare.numbers.none": "没有明显不同的数值。",
    "compare.elsewhere": "其他",
    "compare.column.stage": "阶段",
    "compare.column.selected": "所选",
    "compare.column.rest": "其余",
    "compare.column.extra": "平均多出",
    "compare.column.attribute": "属性",
    "compare.column.lift": "倍数",
    "compare.column.span": "span",
    "compare.column.difference": "A − B",
    "compare.pair": "两条链路",
    "compare.with": "对比",
    "compare.pick": "请从列表中选择要对比的图片。",
    "compare.unpick": "取消",
    "compare.spans": "span（按差异大小）",
    "compare.spans.none": "没有 span。",
    "compare.unlike": "不同的属性",
    "compare.unlike.none": "没有不同的属性。",
    "compare.alike": "{count} 个属性相同",
    "compare.span.request": "请求",
}
