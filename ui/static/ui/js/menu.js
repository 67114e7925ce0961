// Menus that open beside a button: native popover for Esc and clicks outside, arrows to move.

import { el, icon } from "./dom.js";

/** Open a menu at `button`. Items: {label, icon, run, href, detail, tone, checked} or null for a line. */
export function openMenu(button, items, { label = "" } = {}) {
  const menu = el("div", { class: "menu", role: "menu", popover: "auto", "aria-label": label || button.getAttribute("aria-label") });
  for (const item of items) menu.append(item ? entry(menu, item) : el("hr"));
  document.body.append(menu);
  button.setAttribute("aria-expanded", "true");
  menu.addEventListener("toggle", (event) => {
    if (event.newState !== "closed") return;
    button.setAttribute("aria-expanded", "false");
    const inside = menu.contains(document.activeElement) || document.activeElement === document.body;
    menu.remove();
    if (inside) button.focus();
  });
  menu.addEventListener("keydown", (event) => move(menu, event));
  menu.showPopover();
  place(menu, button);
  (menu.querySelector("[aria-checked=true]") ?? menu.querySelector("button, a"))?.focus();
}

function entry(menu, item) {
  const role = item.checked === undefined ? "menuitem" : "menuitemradio";
  const words = el("span", { class: "grow" }, item.label, item.detail ? el("span", { class: "detail" }, item.detail) : null);
  const shared = { role, class: item.tone ?? "", "aria-checked": item.checked === undefined ? null : String(item.checked) };
  const mark = item.checked === undefined ? null : item.checked ? icon("check") : null;
  if (item.href) return el("a", { ...shared, href: item.href, download: item.download ?? null, on: { click: () => menu.hidePopover() } }, icon(item.icon), words);
  const run = () => (menu.hidePopover(), item.run());
  return el("button", { type: "button", ...shared, on: { click: run } }, item.icon ? icon(item.icon, item.iconTone ?? "") : null, words, mark);
}

function place(menu, button) {
  const at = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = menu;
  const left = Math.min(Math.max(8, at.left), innerWidth - width - 8);
  const below = at.bottom + 4 + height <= innerHeight - 8;
  menu.style.left = `${left}px`;
  menu.style.top = `${below ? at.bottom + 4 : Math.max(8, at.top - height - 4)}px`;
}

function move(menu, event) {
  const entries = [...menu.querySelectorAll("button, a")];
  const at = entries.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: entries.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  entries.at(to % entries.length).focus();
}
