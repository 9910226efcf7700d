"""Data: the datasets of this home as their cards tell. Drawn by data.js."""

import gradio as gr


def build() -> None:
    """The panel: one card a dataset."""
    with gr.Column(elem_id="panel-data"):
        gr.HTML(
            """
        <div class="room-top"><h1>Data</h1><p class="note" id="data-count" aria-live="polite"></p></div>
        <div id="datasets"></div>
        <p class="note">Datasets are prepared when the first run that needs them starts. Making one from files of your
          own, and reading the documents of one, are not part of this page yet.</p>""",
            apply_default_css=False,
        )
