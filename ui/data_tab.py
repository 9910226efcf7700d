"""Data: the datasets of this home as their cards tell, and whether home and machine are well. Drawn by data.js."""

import gradio as gr


def build() -> None:
    """The panel: one card a dataset, what the doctor found, and the button that backs up the database."""
    with gr.Column(elem_id="panel-data"):
        gr.HTML(
            """
        <div class="room-top"><h1>Data</h1><p class="note" id="data-count" aria-live="polite"></p></div>
        <div id="datasets"></div>
        <p class="note">Datasets are prepared when the first run that needs them starts. Making one from files of your
          own, and reading the documents of one, are not part of this page yet.</p>
        <section id="health" aria-labelledby="health-title"><h2 id="health-title">This machine and this home</h2>
          <ul aria-live="polite" aria-busy="false"></ul>
          <div class="row"><button type="button" class="plain" id="look-again">Look again</button>
            <button type="button" class="plain" id="back-up">Back up runs.db</button>
            <p class="note" id="backed-up" aria-live="polite"></p></div>
          <p class="note">A backup holds runs, curves, words and exhibits, also while a run trains; weights and datasets
            lie beside it as files. <code>python -m engine doctor</code> reads every checkpoint through as well.</p>
        </section>""",
            apply_default_css=False,
        )
