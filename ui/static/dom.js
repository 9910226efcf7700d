// Elements are made here and only here: texts go in as text nodes, never as HTML.

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

/** h("p", {class: "note", onclick: f}, "text", child, ...): attributes by name, on* as listeners, no HTML ever. */
export function h(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "circle", "polyline", "line"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Set text only when it changed, so that a refresh does not disturb a selection or a screen reader. */
export function say(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter(Boolean));
}

/** A press on what lies behind a dialog shuts it; a drag that ends there, a selection of text for example, does not. */
export function shutByBackdrop(dialog, shut = () => dialog.close()) {
  let pressed = false;
  dialog.addEventListener("pointerdown", (event) => { pressed = event.target === dialog; });
  dialog.addEventListener("click", (event) => { if (pressed && event.target === dialog) shut(); });
}

/** Options of a select from [value, label] pairs; keeps the choice where it still exists. */
export function options(select, pairs) {
  const signature = JSON.stringify(pairs);
  if (select.dataset.options === signature) return;
  const chosen = select.value;
  fill(select, pairs.map(([value, label]) => h("option", { value }, label)));
  select.dataset.options = signature;
  if (pairs.some(([value]) => value === chosen)) select.value = chosen;
}
