"""Report: what became of a run, beside what others published; people write their part of it. Drawn by report.js."""

import gradio as gr


def build() -> None:
    """The panel; what it says depends on the selected run."""
    with gr.Column(elem_id="panel-report"):
        gr.HTML('<article id="report"></article>', apply_default_css=False)
