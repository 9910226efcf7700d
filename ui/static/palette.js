// Colours and strokes of curves: distinguishable for colour-blind eyes, fixed for a run by its place among all runs of the home.

// The accent, and six found by search: as far apart as they get in OKLab for each kind of sight (tests/test_palette.py).
const LIGHT = ["#4547c9", "#d68101", "#068da5", "#ca394b", "#950074", "#593800", "#af76ff"];
const DARK = ["#979cff", "#e3e757", "#03f7fc", "#eea094", "#c3467d", "#a38f02", "#2f72d7"];
/** After seven runs the colours come again with the next stroke: 56 runs look different. Plain dashes are the published run's. */
const STROKES = ["solid", "2px,3px", "10px,3px,2px,3px", "16px,4px", "10px,3px,2px,3px,2px,3px", "4px,2px", "16px,4px,4px,4px", "1px,5px"];

export const isDark = () => document.body.classList.contains("dark");

export function curveColour(run) {
  if (run.kind === "published") return isDark() ? "#9b9db3" : "#7a7c92";
  return (isDark() ? DARK : LIGHT)[run.colour % LIGHT.length];
}

/** The stroke of a run's line, as Plotly calls it. A chart on which nobody else has its colour draws it solid, see `strokes`. */
export function curveDash(run) {
  return run.kind === "published" ? "dash" : run.stroke || STROKES[Math.floor(run.colour / LIGHT.length) % STROKES.length];
}

/** The runs of one chart with the stroke that each has there: patterns only where colours come twice, and not for the `selected` one. */
export function strokes(runs, selected) {
  const times = new Map();
  for (const run of runs) times.set(curveColour(run), (times.get(curveColour(run)) || 0) + 1);
  return runs.map((run) => (times.get(curveColour(run)) > 1 && run.id !== selected ? run : { ...run, stroke: "solid" }));
}

/** The same as SVG calls it. */
export const strokePattern = (run) => ({ solid: "none", dash: "5,4" }[curveDash(run)] ?? curveDash(run).replaceAll("px", ""));

/** A colour of the palette with an opacity. */
export function faint(colour, opacity) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return `rgba(${red},${green},${blue},${opacity})`;
}

export function token(name) {
  return getComputedStyle(document.body).getPropertyValue(name).trim();
}
