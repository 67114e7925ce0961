// The empty conversation: what this box does and doesn't do, three examples, or what is missing.

import { el, icon, may } from "./dom.js";
import { _ } from "./text.js";

const EXAMPLES = [
  ["pencil", _("Rewrite a letter"), _("Rewrite this letter so that it is shorter and friendlier, and keep every fact:\n\n")],
  ["list", _("Make a plan"), _("Make a one-week plan for preparing a talk of 20 minutes. Give it as a table with day, task and time.")],
  ["code", _("Explain code"), _("Explain step by step what this code does, then name its weakest point:\n\n```python\n\n```")],
];
const ICONS = { pencil: "pencil", list: "scroll-text", code: "book-open" };

/** The empty state; `use(text)` puts an example into the composer. */
export function welcome(use) {
  const examples = EXAMPLES.map(([name, title, text]) =>
    el("button", { type: "button", class: "example", on: { click: () => use(text) } }, icon(ICONS[name]), el("strong", {}, title), el("span", { class: "quiet small" }, text.split("\n")[0])));
  return el("div", { class: "welcome" },
    el("h2", {}, _("What can I do for you?")),
    el("div", { class: "examples" }, examples),
    el("ul", { class: "promises small" },
      promise("circle-check", "ok", _("Your words are answered by a model on this box. They are not sent anywhere.")),
      promise("circle-check", "ok", _("Links and pictures in answers load nothing until you say so.")),
      promise("info", "", _("It cannot look things up online or read your files in this version, and it can be wrong: check what matters."))));
}

function promise(name, tone, text) {
  return el("li", {}, icon(name, tone), el("span", {}, text));
}

/** What to do when no model may run. */
export function noModel() {
  const text = may("models")
    ? _("Import a model file; the box checks it and then it can answer.")
    : _("Ask the operator of this box to import one.");
  return el("div", { class: "welcome" },
    el("h2", {}, _("No model yet")),
    el("p", { class: "quiet" }, text),
    el("div", {}, el("a", { class: "button primary", href: "/models" }, icon("box"), _("Open Models"))));
}

/** While a conversation is read. */
export function loadingThread() {
  return [60, 92, 78].map((width) => {
    const line = el("div", { class: "skeleton line" });
    line.style.width = `${width}%`;
    return line;
  });
}
