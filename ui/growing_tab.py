"""Growing up: what a run answered at every age, beside its curve. Drawn by growing.js."""

import gradio as gr

SPEEDS = (("1", "1 a second"), ("2", "2 a second"), ("4", "4 a second"), ("10", "10 a second"))
"""Ages that Play shows."""
SPEED = "2"


def build() -> None:
    """The panel: prompts, the stage, the age."""
    with gr.Column(elem_id="panel-growing"):
        gr.HTML(
            f"""
        <div class="growing-top"><h1>Growing up</h1><p class="note" id="growing-note"></p>
          <div class="segmented" id="growing-view" role="group" aria-label="What is shown">
            <button type="button" data-view="one">One prompt</button>
            <button type="button" data-view="all">All prompts of one age</button></div></div>
        <div id="growing-nothing" hidden><p class="empty words" id="growing-empty" role="status"></p>
          <button type="button" class="strong" id="growing-start">Go to Train</button></div>
        <div class="growing-body" id="growing-body" hidden>
          <nav id="growing-prompts" aria-label="Prompts"></nav>
          <label class="field" id="growing-prompt"><span>Prompt</span><select></select></label>
          <div class="growing-main">{_stage()}{_time()}
            <div id="growing-cards"></div></div>
        </div>""",
            apply_default_css=False,
        )


def _stage() -> str:
    return """
    <div id="growing-stage" aria-live="off"></div>"""


def _time() -> str:
    speeds = "".join(
        f'<option value="{value}"{" selected" if value == SPEED else ""}>{label}</option>' for value, label in SPEEDS
    )
    return f"""
    <section class="growing-time" aria-label="Age">
      <figure class="growing-curve">
        <p id="growing-age" aria-live="polite"><b class="old"></b><span class="then"></span>
          <span class="place"></span></p>
        <div class="plot" aria-hidden="true"></div>
        <input type="range" class="growing-slider" id="growing-slider" min="0" max="1" step="any" value="0"
          aria-label="Age">
        <p class="ends" aria-hidden="true"><span>born</span><span class="range"></span><span></span></p>
        <label id="growing-beside" hidden><span></span>
          <input type="range" class="growing-slider" id="growing-other" min="0" max="1" step="any" value="0"
            aria-label="Age to compare with"></label>
        <figcaption class="sr">Loss over its life</figcaption></figure>
      <div class="row growing-row">
        <button type="button" class="strong" id="growing-play" title="The space bar does the same">Play</button>
        <label class="field" id="growing-speed"><span class="sr">Speed</span><select>{speeds}</select></label>
        <button type="button" class="quiet step" id="growing-younger" aria-label="One age younger">‹</button>
        <button type="button" class="quiet step" id="growing-older" aria-label="One age older">›</button>
        <button type="button" class="plain" id="growing-compare" aria-expanded="false">Compare with another age</button>
      </div>
      <p class="note" id="growing-legend"></p>
      <p class="note" id="growing-signs" hidden></p>
    </section>"""
