"""Play: ask a run of any age, or several side by side, watch the answers come, keep them. Drawn by play.js."""

import gradio as gr

SETTINGS = (
    ("temperature", "Temperature", "0 always takes the likeliest token", 0.8, 0, 2, 0.05),
    ("max_tokens", "Length", "tokens at most", 80, 1, 512, 1),
)
FINE = (
    ("top_p", "Top-p", "only the likeliest tokens, those that share this much of the chance", 0.95, 0.05, 1, 0.01),
    ("top_k", "Top-k", "only the k likeliest tokens; 0 for all", 0, 0, 200, 1),
    ("min_p", "Min-p", "only tokens at least this likely beside the likeliest one; 0 for all", 0, 0, 0.5, 0.01),
    ("repetition_penalty", "Repetition penalty", "above 1 it shuns what was said already", 1, 1, 2, 0.05),
)
PRESETS = (("precise", "Precise"), ("balanced", "Balanced"), ("wild", "Wild"))


def build() -> None:
    """The panel; all of it is ours, so that an answer streams whatever Gradio's own events wait for."""
    with gr.Row(elem_id="panel-play"):
        for name, inside in (("stage", _question()), ("said", _answer()), ("dials", _dials()), ("asked", _history())):
            gr.HTML(f'<div id="{name}">{inside}</div>', apply_default_css=False)


def _question() -> str:
    return """
    <div id="whos"><div class="who">
      <label class="field" id="play-run"><span>Who</span><select></select></label>
      <label class="field" id="play-age"><span>How old</span><select></select></label>
    </div></div>
    <div class="row"><button type="button" class="quiet" id="beside">Ask another one beside it</button></div>
    <p class="note" id="who-note" aria-live="polite" hidden></p>
    <label class="field" id="prompt"><span>Prompt</span>
      <textarea rows="3" maxlength="8192" spellcheck="false" placeholder="The beginning of a text"></textarea>
      <small>Enter asks, Shift+Enter makes a new line, Esc cancels.</small></label>
    <div class="row"><button type="button" class="strong" id="generate">Generate</button>
      <button type="button" class="plain" id="another" hidden>Another answer</button>
      <button type="button" class="plain" id="cancel" disabled>Cancel</button></div>"""


def _answer() -> str:
    return """
    <div id="answers"><article class="answer">
      <div class="output" id="output" aria-live="polite" aria-busy="false">
        <p class="empty">What it answers appears here.</p></div>
      <p class="note facts" id="answer-facts"></p>
      <div class="row"><button type="button" class="plain" id="archive" hidden>Keep this</button></div></article></div>
    <p id="no-letter" class="note" hidden></p>"""


def _history() -> str:
    return """
    <section aria-labelledby="asked-title" hidden><h2 id="asked-title">Asked before</h2><ol></ol>
      <button type="button" class="quiet" id="asked-more" hidden>Show earlier ones</button>
      <p class="problem" role="alert"></p></section>"""


def _dials() -> str:
    presets = "".join(
        f'<button type="button" data-preset="{name}" aria-pressed="false">{label}</button>' for name, label in PRESETS
    )
    counts = "".join(f'<option value="{count}">{count}</option>' for count in (1, 2, 3, 4, 6, 8))
    return f"""<section aria-label="How it is asked"><h2>How it is asked</h2>
      <div class="segmented" role="group" aria-label="A mood">{presets}</div>{"".join(map(_dial, SETTINGS))}
      <div class="pair"><label class="field" id="seed"><span>Seed</span>
        <input type="number" min="0" step="1" value="7"></label>
      <label class="field" id="count"><span>Answers at once</span><select>{counts}</select></label></div>
      <p class="note">The same seed gives the same text; Another answer takes the next one.</p>
      <details id="fine"><summary>Finer settings</summary>{"".join(map(_dial, FINE))}
        <label class="field" id="stops"><span>Ends before</span>
          <textarea rows="2" maxlength="900" spellcheck="false" placeholder="one text a line"></textarea>
          <small>An answer ends before the first of these texts; \\n is a new line.</small></label>
      </details></section>"""


def _dial(setting: tuple[str, str, str, float, float, float, float]) -> str:
    name, label, help_text, value, low, high, step = setting
    return (
        f'<label class="dial" data-dial="{name}"><span>{label}<output>{value}</output></span>'
        f'<input type="range" min="{low}" max="{high}" step="{step}" value="{value}"><small>{help_text}</small></label>'
    )
