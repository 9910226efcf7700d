"""Time capsule: what was kept, as exhibits, and everything that was said. Drawn by capsule.js and its neighbours."""

import gradio as gr

ROOMS = (("", "Exhibits"), ("said", "Everything said"), ("arena", "Blind arena"))


def build() -> None:
    """The panel: its rooms, search and filters, cards, pages."""
    with gr.Column(elem_id="panel-capsule"):
        gr.HTML(_top() + _filters() + _rooms(), apply_default_css=False)


def _top() -> str:
    rooms = "".join(f'<button type="button" data-room="{room}">{name}</button>' for room, name in ROOMS)
    return f"""
        <div class="capsule-top"><h1>Time capsule</h1><p class="note" id="capsule-count" aria-live="polite"></p>
          <div class="segments" id="capsule-rooms" role="group" aria-label="Rooms">{rooms}</div>
          <div class="row" id="capsule-do"></div></div>
        <div id="portable" class="portable"></div>"""


def _filters() -> str:
    return """
        <div class="filters" id="capsule-filters" role="search">
          <label class="field" id="gallery-search"><span class="sr">Search what is in this room</span>
            <input type="search" placeholder="Search prompts, texts, titles and notes" maxlength="200"></label>
          <button type="button" class="plain" id="gallery-more" aria-expanded="false"
            aria-controls="capsule-limits">Filters</button>
          <div class="limits" id="capsule-limits">
          <label class="field" id="gallery-category"><span class="sr">Category</span><select></select></label>
          <label class="field" id="gallery-run"><span class="sr">Run</span><select></select></label>
          <label class="field" id="gallery-young"><span class="sr">Youngest age</span><select></select></label>
          <label class="field" id="gallery-old"><span class="sr">Oldest age</span><select></select></label>
          <div class="chips" id="gallery-tags" role="group" aria-label="Tags"></div>
          <label class="field" id="gallery-measured"><span class="sr">Measure</span><select></select></label>
          <label class="field" id="gallery-sort"><span class="sr">Order</span><select></select></label>
          <label class="field dated" id="gallery-since"><span>From</span><input type="date"></label>
          <label class="field dated" id="gallery-until"><span>To</span><input type="date"></label>
          </div>
        </div>"""


def _rooms() -> str:
    return """
        <p class="note" id="gallery-signs" hidden></p>
        <div id="gallery"></div>
        <div id="everything" hidden></div>
        <nav class="pages" aria-label="Pages"></nav>
        <div id="arena" hidden></div>
        <dialog id="exhibit" class="sheet" aria-labelledby="exhibit-title"></dialog>"""
