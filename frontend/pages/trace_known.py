"""A trace whose spans are kept no longer: what is known of its images all the same."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from frontend.pages.i18n import Texts
from frontend.pages.timings import bar_with_legend, milliseconds, moment
from monitoring.stores.contract import TraceSummary

#: Images of one trace that are told of at most.
MOST = 12


def view(trace_id: str, images: Sequence[TraceSummary], seen: str, words: Texts) -> str:
    """The rows of the search for this trace; `seen` is what there is of pictures, as HTML."""
    told = "".join(_image(image, words) for image in images[:MOST])
    return (
        f'<div class="ds-waterfall" data-complete="1" data-trace="{escape(trace_id)}">'
        f'<header><h2>{escape(words["trace.title"])}</h2><ul class="ds-legend"></ul>'
        f'<p class="ds-links">'
        f'<a href="traces" data-close>{escape(words["trace.close"])}</a></p>'
        f"<code>{escape(trace_id)}</code></header>"
        f'<p class="ds-part-note" role="note">{escape(words["trace.known"])}</p>{seen}{told}</div>'
    )


def _image(image: TraceSummary, words: Texts) -> str:
    outcome = escape(words.get(f"outcome.{image.outcome}", image.outcome))
    state = "bad" if image.status == "error" else "good"
    facts = {
        "route": words.get(f"route.{image.route}", image.route),
        "client": image.client,
        "worker": image.worker,
        "model": image.model,
        "model_version": image.model_version,
        "label": ", ".join(image.labels),
        "score": None if image.score is None else f"{image.score:.2f}",
        "code": image.error_type,
    }
    items = "".join(
        f"<dt>{escape(words['traces.' + name])}</dt><dd>{escape(str(value))}</dd>"
        for name, value in facts.items()
        if value
    )
    why = f'<p class="ds-failure">{escape(image.error_message)}</p>' if image.error_message else ""
    stages = bar_with_legend(image.stages_ms, image.duration_ms, words) if image.stages_ms else ""
    return (
        f'<section class="ds-known"><h3>{moment(image.start_unix_ns)} '
        f'<span class="ds-chip {state}">{outcome}</span> {milliseconds(image.duration_ms)}</h3>'
        f'{why}{stages}<div class="ds-details"><dl>{items}</dl></div></section>'
    )
