"""Play: ask a run of any age, watch the answer come, keep it. Drawn by play.js."""

import gradio as gr

SETTINGS = (
    ("temperature", "Temperature", "0 always takes the likeliest token", 0.8, 0, 2, 0.05),
    ("top_p", "Top-p", "only the likeliest tokens, those that share this much of the chance", 0.95, 0.05, 1, 0.01),
    ("top_k", "Top-k", "only the k likeliest tokens; 0 for all", 0, 0, 200, 1),
    ("max_tokens", "Length", "tokens at most", 80, 1, 512, 1),
)


def build() -> None:
    """The panel; all of it is ours, so that an answer streams whatever Gradio's own events wait for."""
    with gr.Row(elem_id="panel-play"):
        gr.HTML(f'<div id="stage">{_question()}{_answer()}</div>', apply_default_css=False)
        gr.HTML(f'<div id="dials">{_dials()}</div>', apply_default_css=False)


def _question() -> str:
    return """
    <div class="who">
      <label class="field" id="play-run"><span>Who</span><select></select></label>
      <label class="field" id="play-age"><span>How old</span><select></select></label>
    </div>
    <p class="note" id="who-note" aria-live="polite" hidden></p>
    <label class="field" id="prompt"><span>Prompt</span>
      <textarea rows="3" maxlength="8192" spellcheck="false" placeholder="The beginning of a text"></textarea>
      <small>Enter asks, Shift+Enter makes a new line, Esc cancels.</small></label>
    <div class="row"><button type="button" class="strong" id="generate">Generate</button>
      <button type="button" class="plain" id="another" hidden>Another answer</button>
      <button type="button" class="plain" id="cancel" disabled>Cancel</button></div>"""


def _answer() -> str:
    return """
    <article id="output" aria-live="polite" aria-busy="false">
      <p class="empty">What it answers appears here.</p></article>
    <p id="answer-facts" class="note"></p>
    <p id="no-letter" class="note" hidden></p>
    <div class="row"><button type="button" class="plain" id="archive" hidden>Keep this</button></div>"""


def _dials() -> str:
    dials = "".join(
        f'<label class="dial" data-dial="{name}"><span>{label}<output>{value}</output></span>'
        f'<input type="range" min="{low}" max="{high}" step="{step}" value="{value}"><small>{help_text}</small></label>'
        for name, label, help_text, value, low, high, step in SETTINGS
    )
    return f"""<section aria-label="How it is asked"><h2>How it is asked</h2>{dials}
      <label class="field" id="seed"><span>Seed</span><input type="number" min="0" step="1" value="7">
        <small>The same seed gives the same text; Another answer takes the next one.</small></label></section>"""
