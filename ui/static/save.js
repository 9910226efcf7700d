// "Save as": what a chart shows, as a picture, as numbers, or as a page of its own that needs no network.

import { fill, h, say } from "./dom.js";
import { AXES } from "./axes.js";
import { KINDS } from "./figure.js";
import { menu } from "./chart-tools.js";
import { token } from "./palette.js";
import { plotly, scriptAddress } from "./plotly.js";
import { state } from "./state.js";

const [WIDTH, HEIGHT] = [1200, 640];
const LEGEND_ROWS = 12;

/** The menu for one board. */
export function saveMenu(board) {
  const which = h("select", { "aria-label": "Which chart" });
  const note = h("p", { class: "note", "aria-live": "polite" });
  const chart = () => board.charts.find((one) => one.name === which.value) || board.charts[0];
  const button = (label, about, act) => h("button", { type: "button", class: "quiet", onclick: () => act(chart()).then((text) => say(note, text), (error) => say(note, error.message)) },
    label, h("small", {}, about));
  const found = menu("Save as", board.charts.length > 1 ? which : null,
    button("PNG", "a picture", (one) => picture(board, one, "png")), button("SVG", "a picture to enlarge", (one) => picture(board, one, "svg")),
    button("CSV", "as drawn, thinned and smoothed", (one) => drawn(board, one)), button("CSV, every step", "all that was measured, unsmoothed", (one) => everyStep(board, one)),
    button("Web page", "one file, works without a network", (one) => page(board, one)), note);
  found.addEventListener("toggle", () => {
    say(note, "");
    const kept = which.value;
    const filled = board.charts.filter((one) => !one.figure.classList.contains("bare"));
    fill(which, filled.map((one) => h("option", { value: one.name }, KINDS[one.kind()].title)));
    if (filled.some((one) => one.name === kept)) which.value = kept;
  });
  return found;
}

/** The figure for a file: with its names, on its own ground. Names of runs are letters, digits, dots and dashes; others lose their markup. */
function figure(board, chart) {
  const { data, layout } = board.figure(chart);
  const seen = new Set();
  const traces = data.map((trace) => {
    const first = trace.meta && trace.mode === "lines" && !trace.fill && !seen.has(trace.meta);
    if (first) seen.add(trace.meta);
    const run = board.all().find((one) => one.id === trace.meta);
    return { ...trace, name: plain((first && run?.name) || trace.name || ""), showlegend: Boolean(first), legendgroup: trace.meta, hoverinfo: "x+y+name" };
  });
  return { data: traces, layout: { ...layout, title: { text: plain(`${KINDS[chart.kind()].title} over ${AXES[state.axis].title}`), x: 0.02, font: { size: 16 } }, autosize: false,
    width: WIDTH, height: HEIGHT + Math.max(0, seen.size - LEGEND_ROWS) * 6, showlegend: true, legend: { font: { size: 11 } }, margin: { l: 64, r: 24, t: 56, b: 56 },
    paper_bgcolor: token("--surface"), plot_bgcolor: token("--surface"), hovermode: "closest" } };
}

const plain = (text) => String(text).replace(/[<>&]/g, "");
const nameOf = (chart, ending) => `${chart.kind()}-over-${state.axis}.${ending}`;

async function picture(board, chart, format) {
  const { data, layout } = figure(board, chart);
  await plotly();
  const address = await window.Plotly.toImage({ data, layout }, { format, width: layout.width, height: layout.height, scale: format === "png" ? 2 : 1 });
  return keep(address, nameOf(chart, format));
}

/** What is drawn, a line a point. */
async function drawn(board, chart) {
  const { data } = board.figure(chart);
  const lines = [["run", "curve", AXES[state.axis].title.replaceAll(" ", "_"), "value"]];
  for (const trace of data.filter((one) => one.meta)) {
    const run = board.held().find(([one]) => one.id === trace.meta)[0];
    const curve = trace.name.slice(run.name.length).trim() || KINDS[chart.kind()].title;
    trace.x.forEach((x, at) => { if (x !== null && trace.y[at] !== null) lines.push([run.name, curve, x, trace.y[at]]); });
  }
  const text = lines.map((row) => row.map(cell).join(",")).join("\r\n");
  return keepText(text, "text/csv", nameOf(chart, "csv"));
}

const cell = (value) => (typeof value === "string" && /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);

async function everyStep(board, chart) {
  const ids = board.held().map(([run]) => run.id);
  if (!ids.length) throw new Error("There is no curve to save yet.");
  const { m, e } = KINDS[chart.kind()];
  const query = new URLSearchParams({ runs: ids.join(","), x: state.axis, ...(m ? { metric: m } : {}), ...(e ? { evaluation: e } : {}) });
  const zoom = board.zoom.get();
  if (zoom) { query.set("lo", zoom[0]); query.set("hi", zoom[1]); }
  return keep(`/api/curves.csv?${query}`, nameOf(chart, "csv"));
}

/** A page with plotly.js and the figure in it. The figure is data: nothing in it can become a script. */
async function page(board, chart) {
  const { data, layout } = figure(board, chart);
  const answer = await fetch(scriptAddress);
  if (!answer.ok) throw new Error("The page cannot be saved: the script of its chart did not come.");
  const script = await answer.text();
  const safe = (text) => text.replaceAll("<", "\\u003c").replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029");
  const close = "</" + "script>";
  const html = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="content-security-policy" content="default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:">
<title>${plain(layout.title.text)}</title><style>body{margin:0;background:${token("--surface")}}#chart{width:100vw;height:100vh}</style><div id="chart"></div>
<script type="application/json" id="figure">${safe(JSON.stringify({ data, layout: { ...layout, autosize: true, width: undefined, height: undefined, xaxis: { ...layout.xaxis, fixedrange: false } } }))}${close}
<script>${script.replaceAll(/<\/script/gi, "<\\/script")}${close}
<script>const figure=JSON.parse(document.getElementById("figure").textContent);Plotly.newPlot("chart",figure.data,figure.layout,{responsive:true,displaylogo:false,modeBarButtonsToRemove:["sendDataToCloud","sendChartToCloud"]});${close}</html>`;
  return keepText(html, "text/html", nameOf(chart, "html"));
}

function keepText(text, type, name) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  setTimeout(() => URL.revokeObjectURL(address), 60000);
  return keep(address, name);
}

/** Let the browser keep what is at an address under a name. */
export function keep(address, name) {
  const link = h("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  return `Saved as ${name}.`;
}
