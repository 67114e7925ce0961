// Keyboard shortcuts: one table, one dialog that shows it. Pages add their own.

import { openDialog } from "./dialog.js";
import { el } from "./dom.js";
import { _ } from "./text.js";

const shortcuts = [];

/** Register a shortcut. `keys` is what the dialog shows; without `run` it is only listed. */
export function shortcut(keys, text, matches = null, run = null) {
  shortcuts.push({ keys, text, matches, run });
}

function typing(event) {
  return event.target.closest?.("input, textarea, select, [contenteditable]");
}

function show() {
  if (document.querySelector("dialog[open]")) return;
  const rows = shortcuts.map(({ keys, text }) => el("tr", {}, el("td", {}, keys.map((key) => [el("kbd", {}, key), " "]).flat()), el("td", {}, text)));
  openDialog(_("Keyboard shortcuts"), el("table", { class: "list" }, el("tbody", {}, rows)), [{ label: _("Close"), value: "" }]);
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
  for (const { matches, run } of shortcuts) {
    if (matches?.(event, Boolean(typing(event)))) {
      event.preventDefault();
      run(event);
      return;
    }
  }
});
document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-shortcuts]")) return;
  event.preventDefault();
  show();
});

shortcut(["?"], _("Show these shortcuts"), (event, inField) => event.key === "?" && !inField, show);
