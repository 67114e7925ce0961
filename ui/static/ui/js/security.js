// The security page: one sentence, then a row per protection with what it means and what to do.

import { get } from "./api.js";
import { el, failure, icon } from "./dom.js";
import { timeElement } from "./format.js";
import { _, ngettext } from "./text.js";

const NAMES = {
  quarantine: _("Model quarantine"), integrity: _("Model integrity"), network: _("Network"), audit: _("Audit log"),
  vault: _("Vault"), firewall: _("Tool firewall"), airlock: _("Airlock"), search: _("Web search"), sandbox: _("Sandbox"),
};

const summary = document.querySelector("[data-summary]");
const rows = document.querySelector("[data-protections]");

async function read() {
  rows.setAttribute("aria-busy", "true");
  try {
    show(await get("/api/security/status"));
  } catch (error) {
    summary.replaceChildren();
    rows.replaceChildren(failure(error, read));
  } finally {
    rows.removeAttribute("aria-busy");
  }
}

function show(facts) {
  const all = facts.protections ?? [];
  const active = all.filter((one) => one.active).length;
  const good = active === all.length;
  const checked = facts.last_integrity_check
    ? el("span", { class: "small quiet" }, _("Models last verified: "), timeElement(facts.last_integrity_check))
    : el("span", { class: "small quiet" }, _("The models have not been verified since the box started."));
  summary.replaceChildren(el("div", { class: `verdict ${good ? "ok" : "warn"}` }, icon(good ? "shield-check" : "shield-alert"),
    el("div", {}, el("strong", {}, ngettext("{n} of {m} protections is active", "{n} of {m} protections are active", active, { m: all.length })), el("br"), checked)));
  const ordered = [...all].sort((a, b) => Number(a.active) - Number(b.active));
  rows.replaceChildren(el("ul", { class: "protections" }, ordered.map(row)));
}

function row({ name, active, state, meaning, action }) {
  return el("li", { class: "card" },
    icon(active ? "circle-check" : "circle-alert", active ? "ok" : "warn"),
    el("div", { class: "grow" },
      el("div", { class: "row wrap" }, el("h2", { class: "grow" }, NAMES[name] ?? name.replaceAll("_", " ")), el("span", { class: `badge ${active ? "ok" : "warn"}` }, active ? _("Active") : _("Not active"))),
      el("p", {}, state),
      meaning ? el("p", { class: "small quiet" }, meaning) : null,
      action ? el("p", { class: "small todo" }, el("strong", {}, _("What to do: ")), action) : null));
}

document.querySelector("[data-refresh]").addEventListener("click", read);
void read();
