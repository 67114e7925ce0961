// Building elements without HTML strings: text is always text.

import { _ } from "./text.js";

const SPRITE = document.body.dataset.icons ?? "/static/ui/icons.svg";
const SVG = "http://www.w3.org/2000/svg";

/** Make an element. `on` holds listeners, `data` dataset entries, the rest are attributes (true = bare, null = none). */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (name === "data") Object.assign(node.dataset, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** One icon of the sprite; decorative, so words must stand beside it or in a label. */
export function icon(name, className = "") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `icon ${className}`.trim());
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${SPRITE}#${name}`);
  svg.append(use);
  return svg;
}

/** A small icon button with a name for everyone. */
export function tool(name, label, onClick, extra = {}) {
  return el("button", { type: "button", class: "tool", "aria-label": label, title: label, on: { click: onClick }, ...extra }, icon(name));
}

/** A notice: icon, words, optional action. `tone` is ok, warn, bad or empty. */
export function notice(tone, iconName, text, ...actions) {
  return el("div", { class: `notice ${tone}` }, icon(iconName), el("div", { class: "grow stack tight" }, el("span", {}, text), ...actions));
}

/** The state of a list that could not be loaded, with a way out. */
export function failure(error, retry) {
  return el("div", { class: "empty", role: "alert" }, icon("unplug"), el("strong", {}, error.message),
    el("button", { type: "button", class: "button", on: { click: retry } }, icon("rotate-ccw"), _("Try again")));
}

/** The state of a list with nothing in it: what to do about that. */
export function empty(iconName, title, text, ...actions) {
  return el("div", { class: "empty" }, icon(iconName), el("strong", {}, title), el("p", {}, text), ...actions);
}

/** Whether the person holds `scope`; the server decides again. */
export function may(scope) {
  return (document.body.dataset.scopes ?? "").split(" ").includes(scope);
}
