// The manual switch between light, dark and the system's own; theme.js applies it before the first paint.

import { icon } from "./dom.js";
import { _ } from "./text.js";

const ICONS = { auto: "monitor", light: "sun", dark: "moon" };
const WORDS = { auto: _("System"), light: _("Light"), dark: _("Dark") };
const ORDER = ["auto", "light", "dark"];

const current = () => document.documentElement.dataset.theme || "auto";

function set(theme) {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // private mode: it holds for this page
  }
  show();
}

function show() {
  for (const button of document.querySelectorAll("[data-theme-switch]")) {
    button.replaceChildren(icon(ICONS[current()]), Object.assign(document.createElement("span"), { textContent: WORDS[current()] }));
    button.setAttribute("aria-label", _("Theme: {theme}", { theme: WORDS[current()] }));
  }
  for (const input of document.querySelectorAll("[data-theme-choice] input")) input.checked = input.value === current();
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-theme-switch]")) set(ORDER[(ORDER.indexOf(current()) + 1) % ORDER.length]);
});
document.addEventListener("change", (event) => {
  if (event.target.closest("[data-theme-choice]")) set(event.target.value);
});
addEventListener("storage", (event) => event.key === "theme" && set(event.newValue || "auto"));
show();
