"""Report: the final figures of a run beside the published one. Drawn by report.js."""

import gradio as gr


def build() -> None:
    """The panel; what it says depends on the selected run."""
    with gr.Column(elem_id="panel-report"):
        gr.HTML('<article id="report" aria-live="polite"></article>', apply_default_css=False)
