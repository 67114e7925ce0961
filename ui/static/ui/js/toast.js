// Short messages at the edge of the page, announced by role=status, with at most one action.

import { el, icon } from "./dom.js";
import { _ } from "./text.js";

const SHOWN_MS = 6000;
const WITH_ACTION_MS = 12000;

/** Show `text`; `action` is {label, run} or {label, href}. Waits while the pointer or the focus is on it. */
export function toast(text, { action = null, tone = "" } = {}) {
  const host = document.querySelector("[data-toasts]");
  const close = () => node.remove();
  const node = el("div", { class: "toast" }, tone === "bad" ? icon("circle-alert") : null, el("span", { class: "grow" }, text));
  if (action?.href) node.append(el("a", { href: action.href }, action.label));
  if (action?.run) node.append(el("button", { type: "button", on: { click: () => (close(), action.run()) } }, action.label));
  node.append(el("button", { type: "button", "aria-label": _("Close"), on: { click: close } }, icon("x")));
  let timer = 0;
  const start = () => (timer = setTimeout(close, action ? WITH_ACTION_MS : SHOWN_MS));
  const hold = () => clearTimeout(timer);
  for (const event of ["pointerenter", "focusin"]) node.addEventListener(event, hold);
  for (const event of ["pointerleave", "focusout"]) node.addEventListener(event, start);
  while (host.childElementCount > 2) host.firstElementChild.remove();
  host.append(node);
  start();
  return close;
}

/** Show what went wrong. */
export function complain(error) {
  if (error.name !== "AbortError" && error.status !== 401) toast(error.message, { tone: "bad" });
}
