// Modal dialogs on <dialog>: the browser keeps the focus inside and gives it back.

import { el } from "./dom.js";
import { _ } from "./text.js";

/** Open a dialog. `buttons` are {label, value, tone} or ready elements; resolves with the value of the button that closed it ("" for Esc). */
export function openDialog(title, content, buttons, { initial = null } = {}) {
  const heading = el("h2", { id: `dialog-${crypto.randomUUID?.() ?? Date.now()}` }, title);
  const form = el("form", { method: "dialog", class: "actions" });
  for (const button of buttons) {
    const { label, value, tone = "" } = button;
    form.append(button instanceof Node ? button : el("button", { value, class: `button ${tone}` }, label));
  }
  const dialog = el("dialog", { "aria-labelledby": heading.id }, heading, ...[content].flat(), form);
  const before = document.activeElement;
  document.body.append(dialog);
  return new Promise((resolve) => {
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close(""));
    dialog.addEventListener("close", () => {
      dialog.remove();
      before?.focus?.();
      resolve(dialog.returnValue);
    });
    dialog.showModal();
    (initial ?? form.querySelector("button[value]"))?.focus();
  });
}

/** Ask before something is lost; `text` names what. Cancel comes first and has the focus. */
export async function confirmLoss(title, text, label) {
  const answer = await openDialog(title, el("p", {}, text), [
    { label: _("Cancel"), value: "" },
    { label, value: "yes", tone: "danger" },
  ]);
  return answer === "yes";
}

/** Ask for a line of text (or several); resolves with the text, or null when cancelled. */
export async function ask(title, label, value, { lines = 1, help = "", save = _("Save"), options = [] } = {}) {
  const input = lines > 1 ? el("textarea", { id: "ask", rows: String(lines) }) : el("input", { type: "text", id: "ask", list: options.length ? "ask-list" : null, maxlength: "200" });
  input.value = value;
  const list = options.length ? el("datalist", { id: "ask-list" }, options.map((option) => el("option", { value: option }))) : null;
  const field = el("div", { class: "field" }, el("label", { for: "ask" }, label), input, list, help ? el("p", { class: "help" }, help) : null);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && lines === 1 && !event.isComposing) input.closest("dialog").close("save");
  });
  const done = openDialog(title, field, [{ label: _("Cancel"), value: "" }, { label: save, value: "save", tone: "primary" }], { initial: input });
  if (lines === 1) input.select();
  return (await done) === "save" ? input.value : null;
}
