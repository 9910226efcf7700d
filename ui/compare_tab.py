"""Compare: all runs in a table, the chosen ones on one chart and side by side. Drawn by compare.js."""

import gradio as gr


def build() -> None:
    """The panel: chart, table of all runs, settings that differ."""
    with gr.Column(elem_id="panel-compare"):
        gr.HTML(
            """
        <div class="room-top"><h1>Compare</h1><p class="note" id="compare-note" aria-live="polite"></p></div>
        <figure id="compare-figure"><figcaption>
          <span class="segmented" role="group" aria-label="What the chart shows" id="compare-what">
            <button type="button" data-what="bits">Bits per byte</button>
            <button type="button" data-what="loss">Validation loss</button>
            <button type="button" data-what="training">Training loss</button></span>
          <span class="segmented" role="group" aria-label="Horizontal axis" id="compare-axis"></span>
          <button type="button" class="quiet" id="compare-all" hidden>Show all</button></figcaption>
          <div class="legend" role="group" aria-label="Runs on the chart"></div>
          <div id="compare-chart"><div class="plot"></div></div><p class="empty" id="compare-empty"></p></figure>
        <section><h2 id="runs-title">All runs</h2>
          <div class="wide-table" role="region" aria-labelledby="runs-title" tabindex="0">
            <table id="runs-table"></table></div></section>
        <section id="differences" hidden><h2 id="differ-title">Settings that differ</h2>
          <div class="wide-table" role="region" aria-labelledby="differ-title" tabindex="0">
            <table></table></div></section>""",
            apply_default_css=False,
        )
