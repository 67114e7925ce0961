// The settings page: one's sessions and API keys.

import { get, post, remove } from "./api.js";
import { copyText } from "./clipboard.js";
import { confirmLoss, openDialog } from "./dialog.js";
import { el, failure, icon } from "./dom.js";
import { onDay, timeElement } from "./format.js";
import { _ } from "./text.js";
import { complain, toast } from "./toast.js";

async function fill(host, path, build) {
  try {
    host.replaceChildren(build(await get(path)));
  } catch (error) {
    host.replaceChildren(failure(error, () => fill(host, path, build)));
  } finally {
    host.removeAttribute("aria-busy");
  }
}

function button(label, name, run) {
  return el("button", { type: "button", class: "button small", on: { click: run } }, icon(name), label);
}

// --- sessions ----------------------------------------------------------------------------------------

const sessions = document.querySelector("[data-sessions] [data-rows]");
const showSessions = () => fill(sessions, "/api/sessions", sessionRows);

function sessionRows(list) {
  return el("ul", { class: "rows-list" }, list.map((session) => el("li", {},
    icon("monitor"),
    el("div", { class: "grow" },
      el("div", { class: "clip", title: session.agent }, browserOf(session.agent)),
      el("div", { class: "small quiet" }, _("Since "), timeElement(session.created_at))),
    session.current ? el("span", { class: "badge ok" }, icon("check"), _("This browser")) : button(_("Sign out"), "log-out", () => endSession(session)))));
}

/** "Firefox on Linux" out of a User-Agent header, or the header itself. */
function browserOf(agent) {
  const browser = /(Firefox|Edg|OPR|Chrome|Safari)\/[\d.]+/.exec(agent)?.[1];
  const system = /(Windows|Android|iPhone|iPad|Mac OS X|Linux)/.exec(agent)?.[1];
  const name = { Edg: "Edge", OPR: "Opera" }[browser] ?? browser;
  return name && system ? _("{browser} on {system}", { browser: name, system: system.replace(" OS X", "") }) : agent || _("Unknown browser");
}

async function endSession(session) {
  await remove(`/api/sessions/${session.id}`).then(() => toast(_("That browser is signed out.")), complain);
  await showSessions();
}

// --- API keys ----------------------------------------------------------------------------------------

const keys = document.querySelector("[data-keys] [data-rows]");
const form = document.querySelector("[data-new-key]");
const showKeys = () => fill(keys, "/api/keys", keyRows);

function keyRows(list) {
  const live = list.filter((key) => !key.revoked_at);
  if (!live.length) return el("p", { class: "quiet small" }, _("No keys yet."));
  return el("ul", { class: "rows-list" }, live.map(keyRow));
}

function keyRow(key) {
  const ended = key.expires_at && new Date(key.expires_at) < new Date();
  const life = key.expires_at ? (ended ? _("ended on {day}", { day: onDay(key.expires_at) }) : _("until {day}", { day: onDay(key.expires_at) })) : _("never ends");
  const used = key.last_used_at ? [_("last used "), timeElement(key.last_used_at)] : [_("never used")];
  return el("li", {},
    icon("key"),
    el("div", { class: "grow" },
      el("div", { class: "row wrap" }, el("span", {}, key.name), el("code", { class: "quiet small" }, `${key.prefix}…`), key.scopes.map((scope) => el("span", { class: "badge" }, scope))),
      el("div", { class: `small ${ended ? "bad" : "quiet"}` }, `${life} · `, ...used)),
    button(_("Revoke"), "ban", () => revoke(key)));
}

async function revoke(key) {
  const sure = await confirmLoss(_("Revoke {name}?", { name: key.name }), _("Programs that use this key lose access within a second. A revoked key cannot be brought back."), _("Revoke"));
  if (!sure) return;
  await remove(`/api/keys/${key.id}`).then(() => toast(_("The key is revoked.")), complain);
  await showKeys();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = new FormData(form);
  const days = fields.get("expires_in_days");
  const body = { name: fields.get("name").trim(), scopes: fields.getAll("scopes"), expires_in_days: days ? Number(days) : null };
  try {
    await reveal(await post("/api/keys", body));
    form.reset();
    form.closest("details").open = false;
  } catch (error) {
    complain(error);
  }
  await showKeys();
});

function reveal({ key, name }) {
  const copy = el("button", { type: "button", class: "button primary", on: { click: () => copyText(key, copy) } }, icon("copy"), _("Copy the key"));
  return openDialog(_("Your key for {name}", { name }), [
    el("p", { class: "notice warn" }, icon("triangle-alert"), _("This is the only time it is shown. The box keeps a hash of it, not the key.")),
    el("code", { class: "secret" }, key),
    el("div", {}, copy),
  ], [{ label: _("I have it"), value: "" }], { initial: copy });
}

void showSessions();
void showKeys();
