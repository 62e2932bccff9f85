"""Colours and shapes: Gradio's theme from fonts that the system has, so that nothing is fetched from elsewhere."""

from __future__ import annotations

import gradio as gr
from gradio.themes.utils import fonts, sizes

ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<path fill="#0f766e" d="M10 2h12a8 8 0 0 1 8 8v12a8 8 0 0 1-8 8H4a2 2 0 0 1-2-2V10a8 8 0 0 1 8-8z"/></svg>'
)


def theme() -> gr.themes.Base:
    """The product's theme."""
    system = [fonts.Font(name) for name in ("Segoe UI", "Roboto", "Helvetica Neue", "Noto Sans", "sans-serif")]
    mono = [fonts.Font(name) for name in ("Consolas", "Menlo", "DejaVu Sans Mono", "monospace")]
    base = gr.themes.Base(
        primary_hue="teal",
        secondary_hue="teal",
        neutral_hue="stone",
        text_size=sizes.text_md,
        radius_size=sizes.radius_lg,
        font=system,
        font_mono=mono,
    )
    return base.set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="#121615",
        block_border_width="0px",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_shadow="none",
        button_primary_background_fill="#0f766e",
        button_primary_background_fill_hover="#115e59",
        button_primary_background_fill_dark="#0f766e",
        button_primary_background_fill_hover_dark="#14857c",
        button_primary_text_color="white",
        input_background_fill="white",
        input_background_fill_dark="#1b2120",
        input_border_color_focus="#0f766e",
        input_border_color_focus_dark="#2dd4bf",
    )
