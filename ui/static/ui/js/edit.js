// Editing a message in place; saving makes a new branch, the old one stays.

import { el } from "./dom.js";
import { _ } from "./text.js";

/** Put an editor into `node`; resolves with the new text, or null when nothing is to change. */
export function editInPlace(node, text) {
  const body = node.querySelector(".body");
  const foot = node.querySelector("footer");
  const input = el("textarea", { class: "edit", "aria-label": _("Edit the message"), rows: String(Math.min(14, text.split("\n").length + 1)) });
  input.value = text;
  return new Promise((resolve) => {
    const close = (value) => {
      editor.remove();
      body.hidden = foot.hidden = false;
      node.classList.remove("editing");
      node.focus();
      resolve(value && value !== text ? value : null);
    };
    const editor = el("form", { class: "stack tight", on: { submit: (event) => (event.preventDefault(), close(input.value.trim())) } },
      input,
      el("div", { class: "row wrap" },
        el("span", { class: "tiny quiet grow" }, _("The earlier version stays; switch with ‹ ›.")),
        el("button", { type: "button", class: "button small", on: { click: () => close(null) } }, _("Cancel")),
        el("button", { class: "button small primary" }, _("Send the new version"))));
    input.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.preventDefault();
        event.stopPropagation();
        close(null);
      } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        close(input.value.trim());
      }
    });
    body.hidden = foot.hidden = true;
    node.classList.add("editing");
    node.append(editor);
    input.focus();
  });
}
