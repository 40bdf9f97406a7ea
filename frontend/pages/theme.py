"""How the pages look: Gradio's theme with the system's own fonts, and our style sheet.

Nothing is fetched from elsewhere: the pages work without the internet.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

HERE = Path(__file__).parent
STYLES = ("style.css", "monitor/monitor.css", "report.css", "model.css", "camera.css")
FONTS = (
    "system-ui", "-apple-system", "Segoe UI", "Roboto", "PingFang SC", "Microsoft YaHei",
    "Noto Sans CJK SC", "sans-serif",
)  # fmt: skip
MONOSPACE = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace")


def theme() -> gr.themes.Base:
    """Calm and dense: small radii, thin borders, one accent colour."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.indigo,
        neutral_hue=gr.themes.colors.slate,
        spacing_size=gr.themes.sizes.spacing_md,
        radius_size=gr.themes.sizes.radius_md,
        text_size=gr.themes.sizes.text_sm,
        font=FONTS,
        font_mono=MONOSPACE,
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_width="1px",
        block_shadow="none",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_500",
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
    )


def head() -> str:
    """What Gradio adds to the head of every page: the style, which comes after its own."""
    style = "".join((HERE / name).read_text(encoding="utf-8") for name in STYLES)
    return f"<style>{style}</style>"


def first() -> str:
    """What stands first in it: the title, and the language and theme."""
    ground = ":root body { background: light-dark(#f8fafc, #020617); }"
    return f"<title>damoscope</title><script>{script('head')}</script><style>{ground}</style>"


def script(name: str) -> str:
    """One of our scripts, as `js_on_load` of the component whose `element` it works on."""
    return (HERE / f"{name}.js").read_text(encoding="utf-8")
