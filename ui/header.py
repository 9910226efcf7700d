"""The header: which run, how it is, how far it is, and the buttons that stop and resume it. Always visible."""

from collections.abc import Callable

import gradio as gr

FIGURES = (
    ("age", "Age", "tokens it has read; a token is a word or a piece of one"),
    ("loss", "Loss", "how surprised it is by the next token of what it reads, in nats; lower is better"),
    ("val", "Validation", "the same for text that it never reads in training; this is the figure that counts"),
    ("perplexity", "Perplexity", "as many tokens it wavers between: e to the power of the validation loss"),
    ("speed", "Speed", "tokens it reads in a second"),
    ("eta", "Left", "until it has read all it is to read"),
    ("cost", "Cost", "what it has cost so far, at the price that was given for its machine"),
)
TABS = (
    ("train", "Train"),
    ("growing", "Growing up"),
    ("compare", "Compare"),
    ("play", "Play"),
    ("capsule", "Time capsule"),
    ("data", "Data"),
    ("report", "Report"),
)
MARK = """<svg class="mark" viewBox="0 0 32 32" aria-hidden="true"><circle cx="16" cy="17" r="12"/>
<path d="M16 11.5l1.6 2.7 3-.6-.6 3 2.7 1.6-2.7 1.6.6 3-3-.6L16 25l-1.6-2.8-3 .6.6-3-2.7-1.6 2.7-1.6-.6-3 3 .6z"/>
</svg>"""


def build(stop_run: Callable[[str], str], resume_run: Callable[[str], str]) -> None:
    """Header, tab bar, and the two buttons with their handlers."""
    with gr.Column(elem_id="topbar"):
        gr.HTML(_top(), apply_default_css=False)
        stop = gr.Button("Stop and save", elem_id="stop", size="sm")
        resume = gr.Button("Resume", elem_id="resume", size="sm", variant="primary")
        gr.HTML(_tabs(), apply_default_css=False)
    run = gr.Textbox(visible=False)
    done = gr.Textbox(visible=False)
    for button, handler, name in ((stop, stop_run, "stop_run"), (resume, resume_run, "resume_run")):
        button.click(
            handler,
            [run],
            [done],
            js="() => window.blueberry.run()",
            api_name=name,
            show_progress="hidden",
            concurrency_limit=8,
        ).then(None, js="() => window.blueberry.refresh()")


def _top() -> str:
    return f"""
    <div class="brand">{MARK}<span>Blueberry Studio</span></div>
    <label id="run-select"><span class="sr">Run</span><span class="dot"></span><select></select></label>
    <div id="status" role="status"><span class="dot"></span><span class="label">Opening</span></div>
    <p class="message" aria-live="polite"></p>
    <button class="quiet icon" id="theme-toggle" type="button"
      aria-label="Switch between light and dark" title="Light or dark">
      <svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="8"/><path d="M12 4a8 8 0 0 1 0 16z"/></svg>
    </button>"""


def _tabs() -> str:
    tabs = "".join(
        f'<button role="tab" type="button" id="tab-{name}" data-tab="{name}" aria-controls="panel-{name}">'
        f"{label}</button>"
        for name, label in TABS
    )
    figures = "".join(
        f'<div data-figure="{name}" title="{label}: {meaning}"><dt>{label}<small></small></dt><dd>–</dd></div>'
        for name, label, meaning in FIGURES
    )
    return f"""
    <nav class="tabs" role="tablist" aria-label="Parts of the studio">{tabs}</nav>
    <dl class="figures">{figures}</dl>
    <div class="progress" role="progressbar" aria-label="Progress of the run" aria-valuemin="0" aria-valuemax="100">
      <i></i></div>"""
