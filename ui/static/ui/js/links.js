// Links in model text lead nowhere until a person has seen the full host and said yes.

import { copyText } from "./clipboard.js";
import { openDialog } from "./dialog.js";
import { el, icon } from "./dom.js";
import { _ } from "./text.js";

const SCHEMES = new Set(["https:", "http:", "mailto:"]);

function parsed(address) {
  try {
    const url = new URL(address);
    return SCHEMES.has(url.protocol) ? url : null;
  } catch {
    return null;
  }
}

function warnings(url) {
  const found = [];
  if (url.protocol === "http:") found.push(_("This address is not encrypted."));
  if (url.username || url.password) found.push(_("The address carries a name or password before the host; that is often a trick."));
  if (url.host.includes("xn--")) found.push(_("The host uses letters of another script that may look like others."));
  if (url.search.length > 100 || url.pathname.length > 200) found.push(_("The address is long and may carry data out with it."));
  return found.map((text) => el("p", { class: "notice warn" }, icon("triangle-alert"), text));
}

async function ask(address) {
  const url = parsed(address);
  if (!url) {
    return openDialog(_("This link leads nowhere"), [el("p", {}, _("A model wrote it; it is not a web address.")), el("code", { class: "address" }, address)], [{ label: _("Close"), value: "" }]);
  }
  const open = el("a", { class: "button", href: url.href, target: "_blank", rel: "noopener noreferrer nofollow" }, icon("external-link"), _("Open in a new tab"));
  const copy = el("button", { type: "button", class: "button", on: { click: () => copyText(url.href, copy) } }, icon("copy"), _("Copy address"));
  open.addEventListener("click", () => open.closest("dialog").close("open"));
  return openDialog(_("Leave this box?"), [
    el("p", {}, _("A model wrote this link. Opening it tells the other side that you read it.")),
    el("p", { class: "host" }, url.host || url.pathname),
    el("code", { class: "address" }, url.href),
    ...warnings(url),
  ], [copy, open, { label: _("Stay here"), value: "" }]);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-link]");
  if (link) void ask(link.dataset.link);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches?.("[data-link]")) void ask(event.target.dataset.link);
});
