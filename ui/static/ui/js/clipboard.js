// Copying text, with a word on the button that it was done.

import { el, icon } from "./dom.js";
import { _ } from "./text.js";
import { toast } from "./toast.js";

/** Copy text and say so. */
export async function copyText(text, button = null) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyBySelection(text);
  }
  if (!button) return toast(_("Copied."));
  if ("copied" in button.dataset) return; // the word still stands there
  const before = [...button.childNodes];
  button.dataset.copied = "";
  button.replaceChildren(icon("check"), button.getAttribute("aria-label") ? "" : _("Copied"));
  setTimeout(() => (button.replaceChildren(...before), delete button.dataset.copied), 1500);
}

// the clipboard interface is missing on plain-http addresses other than localhost
function copyBySelection(text) {
  const area = el("textarea", { class: "visually-hidden", readonly: true });
  area.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
