// Colours of curves: distinguishable for colour-blind eyes, fixed for a run by its place among all runs of the home.

const LIGHT = ["#4547c9", "#c05a00", "#00806a", "#b0307f", "#1f78b4", "#7d6400", "#7a4a2b"];
const DARK = ["#979cff", "#f0913e", "#3dbb9f", "#ec79ba", "#66b5ea", "#d0b040", "#cba182"];

export const isDark = () => document.body.classList.contains("dark");

export function curveColour(run) {
  if (run.kind === "published") return isDark() ? "#9b9db3" : "#7a7c92";
  return (isDark() ? DARK : LIGHT)[run.colour % LIGHT.length];
}

export function token(name) {
  return getComputedStyle(document.body).getPropertyValue(name).trim();
}
