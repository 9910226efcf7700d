"""Data: what this home can train on, what is being prepared, the form to prepare more, tokens, and home and machine.

Drawn by data.js, jobs.js, dataset.js, prepare.js, preview.js, tokenize.js and health.js.
"""

import gradio as gr

SAMPLE = "Once upon a time, 151,032,320 parameters said: “Ça va, 世界?” 🫐\n    if x != 42: return None"
DATASETS = '<div id="jobs"></div><div id="datasets"></div>'


def build() -> None:
    """The panel; texts come in as text nodes only."""
    with gr.Column(elem_id="panel-data"):
        gr.HTML(_top() + _prepare() + DATASETS + _tokens() + _health(), apply_default_css=False)


def _top() -> str:
    return """
    <div class="room-top"><h1 tabindex="-1">Data</h1><p class="note" id="data-count" role="status"></p>
      <button type="button" class="strong" id="prepare-open" aria-expanded="false" aria-controls="prepare">Prepare a
        dataset</button></div>"""


def _field(name: str, label: str, help_text: str, small: str = "", **attributes: str) -> str:
    """A labelled input of the form; its sentence is read with it."""
    more = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f"""
      <label class="field"><span>{label} <small>{small}</small></span>
        <input type="text" id="prepare-{name}" autocomplete="off" spellcheck="false"
          aria-describedby="help-prepare-{name}"{more}>
        <small class="help" id="help-prepare-{name}" aria-live="polite">{help_text}</small></label>"""


def _prepare() -> str:
    filters = (
        _field("min_characters", "Shortest", "Shorter documents are left out.", "characters", inputmode="numeric"),
        _field("max_characters", "Longest", "Longer documents are left out.", "characters", inputmode="numeric"),
        _field(
            "max_symbol_share",
            "Most symbols",
            "Signs that are neither letters, digits, blanks nor usual punctuation, in any script.",
            "% of a document",
            inputmode="decimal",
        ),
        _field(
            "max_repetition",
            "Most repetition",
            "What stands in lines or phrases that the document has said before.",
            "% of a document",
            inputmode="decimal",
        ),
    )
    return f"""
    <section id="prepare" aria-labelledby="prepare-title" hidden>
      <form id="prepare-form" novalidate>
        <h2 id="prepare-title" tabindex="-1">Prepare a dataset</h2>
        <div class="row" role="group" aria-label="Begin with" id="begin-with"></div>
        {_field("name", "Name", "What runs call it: letters, digits, . _ -", maxlength="64", placeholder="my-texts")}
        <fieldset id="sources"><legend>Texts</legend><div class="list"></div>
          <button type="button" class="quiet" id="add-source">Mix in another source</button></fieldset>
        <div class="pair"><label class="field"><span>Tokenizer</span><select id="prepare-tokenizer">
            <option value="smollm2">SmolLM2's, 49,152 pieces</option>
            <option value="bpe">Learned from these texts</option>
            <option value="other">Another one</option></select></label>
          {_field("size", "Pieces", "257 to 65,536", value="4096", inputmode="numeric")}
          {_field("other", "Its tokenizer.json", "A file, or a name on the hub", placeholder="OWNER/NAME")}</div>
        {_field("tokens", "Stop at", "Empty for all there is; 20M and 1B are numbers here.", "tokens")}
        <details class="more" id="filters"><summary>What is left out</summary><div class="pair">{"".join(filters)}</div>
          <label class="tick"><input type="checkbox" id="prepare-deduplicate" checked>
            <span>Documents equal to one that came before, character by character</span></label>
          <label class="tick"><input type="checkbox" id="prepare-skip_unreadable">
            <span>Leave unreadable files out, instead of ending with the first</span></label></details>
        <details class="more"><summary>Licence and separator</summary><div class="pair">
          {_field("licence", "Licence", "Empty for what the sources say of themselves.")}
          {_field("separator", "Separator", "The piece that ends every document.", value="&lt;|endoftext|&gt;")}
          </div></details>
        <div class="row go"><button type="submit" class="strong">Start preparing</button>
          <button type="button" class="plain" id="look-first">Look at it again</button>
          <button type="button" class="quiet" id="prepare-close">Close</button></div>
        <p class="problem" role="alert"></p>
      </form>
      <section id="preview" aria-labelledby="preview-title"><h2 id="preview-title">What it will be</h2>
        <div class="estimate" role="status"></div>
        <ol class="first" tabindex="0" aria-label="The first documents"></ol></section>
    </section>"""


def _tokens() -> str:
    sides = "".join(
        f"""
        <div class="side" data-side="{side}"><label class="field"><span>{label}</span><select></select></label>
          <p class="totals" aria-live="polite"></p><div class="pieces" role="listbox" aria-label="{label}: its tokens"
            aria-orientation="horizontal"></div><p class="note told" aria-hidden="true"></p></div>"""
        for side, label in (("left", "Tokenizer"), ("right", "Beside it"))
    )
    return f"""
    <section id="tokens" aria-labelledby="tokens-title"><h2 id="tokens-title">See a text as tokens</h2>
      <label class="field"><span class="sr">Text</span>
        <textarea id="tokens-text" rows="3" spellcheck="false">{SAMPLE}</textarea></label>
      <p class="note" id="tokens-cut" role="status"></p>
      <p class="problem" role="alert"></p><div class="sides">{sides}</div></section>"""


def _health() -> str:
    return """
    <section id="health" aria-labelledby="health-title"><h2 id="health-title">This machine and this home</h2>
      <ul aria-live="polite" aria-busy="false"></ul>
      <div class="row"><button type="button" class="plain" id="look-again">Look again</button>
        <button type="button" class="plain" id="back-up">Back up runs.db</button>
        <p class="note" id="backed-up" aria-live="polite"></p></div>
      <p class="note">A backup holds runs, curves, words and exhibits, also while a run trains; weights and datasets
        lie beside it as files. <code>python -m engine doctor</code> reads every checkpoint through as well.</p>
    </section>"""
