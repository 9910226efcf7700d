"""Compare: all runs in a table, the chosen ones on one chart and side by side. Drawn by compare.js,
runs-table.js and differences.js."""

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
        <section id="sweep-result" aria-labelledby="sweep-title" hidden></section>
        <section id="runs"><div class="room-top"><h2 id="runs-title" tabindex="-1">All runs</h2>
            <p class="note" id="runs-count" role="status"></p></div>
          <div id="runs-filter">
            <label class="field"><span class="sr">Find runs</span>
              <input type="search" id="runs-find" maxlength="200" placeholder="Find by name, preset, tag, note, status"
                autocomplete="off" spellcheck="false"></label>
            <div class="chips" role="group" aria-label="Only runs that are" id="runs-status"></div>
            <div class="chips" role="group" aria-label="Only runs with the tag" id="runs-tags"></div>
            <div class="row"><button type="button" class="quiet" id="runs-choose"></button>
              <button type="button" class="quiet" id="runs-choose-none">Take all off the chart</button></div></div>
          <p class="note" id="runs-said" role="status"></p><p class="problem" id="runs-problem" role="alert"></p>
          <div class="wide-table" role="region" aria-labelledby="runs-title" tabindex="0">
            <table id="runs-table"></table></div></section>
        <section id="differences" hidden><div class="room-top"><h2 id="differ-title">Settings that differ</h2>
            <p class="note" id="differ-note"></p></div>
          <div class="wide-table" role="region" aria-labelledby="differ-title" tabindex="0">
            <table></table></div></section>""",
            apply_default_css=False,
        )
