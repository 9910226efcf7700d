"""Time capsule: what was kept, as exhibits. Drawn by capsule.js."""

import gradio as gr


def build() -> None:
    """The panel: search, filters, cards, pages."""
    with gr.Column(elem_id="panel-capsule"):
        gr.HTML(
            """
        <div class="capsule-top"><h1>Time capsule</h1><p class="note" id="capsule-count" aria-live="polite"></p></div>
        <div id="portable" class="portable"></div>
        <div class="filters" role="search">
          <label class="field" id="gallery-search"><span class="sr">Search the exhibits</span>
            <input type="search" placeholder="Search prompts, texts, titles and notes" maxlength="200"></label>
          <label class="field" id="gallery-category"><span class="sr">Category</span><select></select></label>
          <label class="field" id="gallery-run"><span class="sr">Run</span><select></select></label>
          <label class="field" id="gallery-young"><span class="sr">Youngest age</span><select></select></label>
          <label class="field" id="gallery-old"><span class="sr">Oldest age</span><select></select></label>
        </div>
        <p class="note" id="gallery-signs" hidden></p>
        <div id="gallery"></div>
        <nav class="pages" aria-label="Pages"></nav>
        <dialog id="exhibit" class="sheet" aria-labelledby="exhibit-title"></dialog>""",
            apply_default_css=False,
        )
