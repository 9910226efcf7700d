"""Gradio's theme brought in line with ui/static/studio.css, and what goes into the page's head."""

from typing import Any

import gradio as gr

from ui.statics import REST

SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace"]


def make_theme() -> Any:
    """Gradio's plainest theme with system fonts (none is fetched) and our colours; studio.css does the rest."""
    return gr.themes.Base(font=SANS, font_mono=MONO, primary_hue="indigo", neutral_hue="slate").set(
        body_background_fill="var(--ground)",
        body_background_fill_dark="var(--ground)",
        body_text_color="var(--ink)",
        body_text_color_dark="var(--ink)",
        background_fill_primary="var(--surface)",
        background_fill_primary_dark="var(--surface)",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_border_width_dark="0px",
        block_shadow="none",
        block_shadow_dark="none",
    )


def page_head(version: str) -> str:
    """Style, scripts and icons; `version` is part of their address, so that they can be cached for ever."""
    base = f"/static/studio/{version}"
    return f"""
    <meta name="color-scheme" content="light dark">
    <meta name="description" content="Train a small language model from scratch, watch it learn, keep what it says.">
    <link rel="icon" href="{base}/favicon.svg" type="image/svg+xml">
    <link rel="stylesheet" href="{base}/studio.css">
    <link rel="stylesheet" href="{base}/{REST}">
    <script type="module" src="{base}/app.js"></script>
    """
