"""Play: ask a run of any age, watch the answer come, keep it. Drawn by play.js."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

SETTINGS = (
    ("temperature", "Temperature", "0 always takes the likeliest token", 0.8, 0, 2, 0.05),
    ("top_p", "Top-p", "only the likeliest tokens that add up to this", 0.95, 0.05, 1, 0.01),
    ("top_k", "Top-k", "only the k likeliest tokens; 0 for all", 0, 0, 200, 1),
    ("max_tokens", "Length", "tokens at most", 80, 1, 512, 1),
)


AT_ONCE = 24
"""Answers under way or waiting: more than the talker lets wait, so that it is the talker who refuses, in a sentence."""


def build(
    ask: Callable[..., Iterator[dict[str, Any]]],
    cancel_answer: Callable[[str], None],
) -> None:
    """The panel; Generate and Cancel with their handlers."""

    def answer(question: str) -> Iterator[str]:
        for piece in ask(**_arguments(question)):
            yield json.dumps(piece)

    with gr.Row(elem_id="panel-play"):
        with gr.Column(elem_id="stage"):
            gr.HTML(_question(), apply_default_css=False)
            with gr.Row(elem_id="ask-buttons"):
                generate = gr.Button("Generate", elem_id="generate", variant="primary")
                cancel = gr.Button("Cancel", elem_id="cancel")
            gr.HTML(_answer(), apply_default_css=False)
            stream = gr.HTML(
                "",
                html_template="<i></i>",
                elem_id="stream",
                apply_default_css=False,
                js_on_load="watch('value', () => window.blueberry.heard(props.value))",
            )
        with gr.Column(elem_id="dials"):
            gr.HTML(_dials(), apply_default_css=False)
    question, token = gr.Textbox(visible=False), gr.Textbox(visible=False)
    asked = generate.click(
        answer,
        [question],
        [stream],
        js="() => window.blueberry.question()",
        show_progress="hidden",
        api_visibility="private",
        concurrency_limit=AT_ONCE,
        concurrency_id="generation",
    )
    asked.then(None, js="() => window.blueberry.answered()")
    # Not Gradio's own cancelling: an answer that is cancelled this way still ends with its sample, which can be kept.
    cancel.click(
        cancel_answer,
        [token],
        js="() => window.blueberry.cancelling()",
        show_progress="hidden",
        api_visibility="private",
        concurrency_limit=AT_ONCE,
    )


def _arguments(question: str) -> dict[str, Any]:
    """What the page asked; the values themselves are checked by Actions.ask."""
    names = ("run", "step", "prompt", "max_tokens", "temperature", "top_k", "top_p", "seed", "token")
    try:
        given = json.loads(question) if isinstance(question, str) and len(question) < 100_000 else {}
    except (ValueError, RecursionError):  # a number of 5,000 digits is no JSONDecodeError
        given = {}
    return {name: given.get(name) for name in names} if isinstance(given, dict) else dict.fromkeys(names)


def _question() -> str:
    return """
    <div class="who">
      <label class="field" id="play-run"><span>Who</span><select></select></label>
      <label class="field" id="play-age"><span>How old</span><select></select></label>
    </div>
    <label class="field" id="prompt"><span>Prompt</span>
      <textarea rows="3" maxlength="8192" spellcheck="false" placeholder="Once upon a time"></textarea>
      <small>Enter asks, Shift+Enter makes a new line, Esc cancels.</small></label>"""


def _answer() -> str:
    return """
    <article id="output" aria-live="polite" aria-busy="false">
      <p class="empty">What it answers appears here.</p></article>
    <p id="answer-facts" class="note"></p>
    <p id="no-letter" class="note" hidden>� stands for bytes that are no letter: it learned
      bytes before letters, or its answer ended inside one.</p>
    <div class="row"><button type="button" class="plain" id="archive" hidden>Keep this</button></div>"""


def _dials() -> str:
    dials = "".join(
        f'<label class="dial" data-dial="{name}"><span>{label}<output>{value}</output></span>'
        f'<input type="range" min="{low}" max="{high}" step="{step}" value="{value}"><small>{help_text}</small></label>'
        for name, label, help_text, value, low, high, step in SETTINGS
    )
    return f"""<section aria-label="How it is asked"><h2>How it is asked</h2>{dials}
      <label class="field" id="seed"><span>Seed</span><input type="number" min="0" step="1" value="7">
        <small>The same seed gives the same text.</small></label></section>"""
