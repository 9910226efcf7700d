"""Train: choose and start a run on the left, watch it learn on the right. Drawn by setup.js, charts.js and feed.js."""

from collections.abc import Callable

import gradio as gr

CHARTS = (
    ("loss-chart", "Loss", "how surprised it is by the next token, in nats", "wide"),
    ("ppl-chart", "Perplexity", "tokens it wavers between", ""),
    ("accuracy-chart", "Accuracy", "unseen tokens guessed right", ""),
    ("bits-chart", "Bits per byte", "to write down unseen text", ""),
    ("rate-chart", "Learning rate", "of Muon, the optimizer", ""),
    ("norm-chart", "Gradient norm", "before clipping", ""),
    ("speed-chart", "Speed", "tokens per second", ""),
)
LEGEND = '<div class="legend" role="group" aria-label="Runs on the charts"></div>'
PLAN = """<p class="problem" id="problem" role="alert"></p><p class="plan" id="plan" aria-live="polite"></p>
<div id="preflight" hidden><p class="row"><button type="button" class="plain">Measure here</button>
<span class="note doing" role="status"></span><span class="note pace" aria-hidden="true"></span></p>
<details class="more"><summary></summary><dl></dl><div class="notes"></div></details></div>
<div id="offer" hidden><button type="button" class="strong">Prepare its text</button></div>"""
FACTS = """<section id="outlook" class="beside" aria-label="Where it is going" hidden></section>
<section id="facts" aria-label="The run"></section>
<section id="money" aria-label="Money and energy"></section>"""


def build(start_run: Callable[[str, str, str], str]) -> None:
    """The panel, and Start with its handler."""
    with gr.Row(elem_id="panel-train"):
        with gr.Column(elem_id="side"):
            gr.HTML('<section id="line" aria-labelledby="line-title" hidden></section>', apply_default_css=False)
            gr.HTML(_form(), apply_default_css=False)
            with gr.Column(elem_id="go"):
                gr.HTML(PLAN, apply_default_css=False)
                start = gr.Button("Start", elem_id="start", variant="primary", size="lg")
            gr.HTML(FACTS, apply_default_css=False)
        with gr.Column(elem_id="watch"):
            gr.HTML(_watch(), apply_default_css=False)
    preset, name, overrides, run = (gr.Textbox(visible=False) for _ in range(4))
    pressed = start.click(
        start_run,
        [preset, name, overrides],
        [run],
        js="() => window.blueberry.startArguments()",
        api_name="start_run",
        show_progress="hidden",
        concurrency_limit=8,
    )
    pressed.success(None, [run], js="(run) => window.blueberry.started(run)")
    pressed.failure(None, js="() => window.blueberry.notStarted()")


def _form() -> str:
    return """
    <section id="setup" aria-label="Start a run">
      <h1 class="welcome">Train a small language model from nothing, on this machine, and watch it learn to write.</h1>
      <button type="button" class="quiet back" id="back-to-run">Back to the run</button>
      <fieldset id="preset"><legend>Choose a model</legend><div class="cards"></div></fieldset>
      <label class="field" id="run-name"><span>Name <small>optional</small></span>
        <input type="text" maxlength="64" autocomplete="off" spellcheck="false" data-key="name"
          aria-describedby="help-name">
        <small id="help-name" class="help"></small></label>
      <div class="settings front"></div>
      <details class="more" id="home-price"><summary>What does this machine cost?</summary>
        <div></div></details>
      <details class="more"><summary>More settings</summary><div class="folded"></div></details>
      <details class="more" id="sweep"><summary>Try several values</summary></details>
    </section>"""


def _watch() -> str:
    charts = [
        f'<figure class="chart {size}" data-chart="{name}"><figcaption><b>{title}</b> <span>{unit}</span>'
        f"</figcaption>{LEGEND if size else ''}"
        f'<div id="{name}"><div class="plot"></div></div></figure>'
        for name, title, unit, size in CHARTS
    ]
    return f"""
    <p class="banner" id="notice" data-tone="bad" role="status" hidden></p>
    <div class="banner" id="banner" hidden></div>
    <div class="toolbar">
      <div class="segmented" role="group" aria-label="Horizontal axis" id="axis"></div>
      <details class="menu" id="compare"><summary>Compare with</summary><div class="choices"></div></details>
      <button type="button" class="quiet" id="reset-zoom" hidden>Show all</button>
      <p class="note" id="chart-note"></p>
    </div>
    <div class="charts">{charts[0]}</div>
    <section id="feed"><div class="heading"><h2 tabindex="-1">What it says now</h2><p class="note rhythm"></p>
      <p class="note wish" role="status"></p>
      <div class="row"><button type="button" class="quiet" id="ask-now" hidden>Ask now</button>
        <button type="button" class="quiet" id="edit-prompts" aria-haspopup="dialog">Edit prompts</button>
        <button type="button" class="quiet" id="see-grow" hidden>See it grow up</button></div></div>
      <p class="empty"></p><div class="answers"></div><p class="note signs" hidden></p>
      <button type="button" class="quiet" id="all-answers" hidden></button></section>
    <section><h2 class="sr">More curves</h2><div class="charts small">{"".join(charts[1:])}</div></section>
    <section id="diagnosis" hidden><h2>How it learns</h2><div class="verdict"></div>
      <details class="more"><summary>Updates of each group of weights</summary><div class="groups"></div></details>
    </section>
    <section id="machine"><div class="heading"><h2>Machine</h2><p class="note"></p></div>
      <div class="gauges"></div></section>
    <section id="events" hidden><div class="heading"><h2>What happened</h2>
      <button type="button" class="quiet" id="tell-me" aria-haspopup="dialog">Tell me</button></div>
      <ol></ol></section>"""
