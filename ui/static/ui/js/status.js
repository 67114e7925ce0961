// The status line: polls /api/status, says so when it cannot, and tells the page through `box:status`.

import { get } from "./api.js";
import { el, icon } from "./dom.js";
import { number, percent } from "./format.js";
import { _, ngettext } from "./text.js";

const BUSY_MS = 2000;
const IDLE_MS = 6000;
const HIDDEN_MS = 60_000;
const LIMIT_MS = 8000;

const VAULT = {
  uninitialized: ["lock-open", "", _("Vault not set up")],
  locked: ["lock", "warn", _("Vault locked")],
  unlocked: ["lock-open", "ok", _("Vault open")],
  locking_soon: ["hourglass", "warn", _("Vault locks soon")],
};

const host = document.querySelector("[data-status]");
let timer = 0;
let running = null;

function item(href, iconName, tone, text, title = "") {
  const content = [icon(iconName, iconName === "loader-circle" ? "spin" : tone), el("span", {}, text)];
  return href ? el("a", { href, title: title || null }, content) : el("span", { title: title || null }, content);
}

function engine(state) {
  const { state: word, model, tokens_per_second: speed, active = 0, queued = 0, progress } = state ?? {};
  const rate = speed ? ` · ${_("{n} tok/s", { n: number(speed, 1) })}` : "";
  const waiting = queued ? ` · ${ngettext("{n} waiting", "{n} waiting", queued)}` : "";
  if (word === "down") return item("/models", "circle-alert", "bad", _("Engine down"), _("Answers are not possible until it is back; it restarts by itself."));
  if (word === "loading") return item("/models", "loader-circle", "", _("Loading {model}", { model: model ?? "" }) + (progress === null || progress === undefined ? "" : ` ${percent(progress)}`));
  if (!model) return item("/models", "box", "", _("No model loaded"));
  if (word === "busy" || active) return item("/models", "activity", "ok", `${model}${rate}${waiting}`, _("Writing now"));
  return item("/models", "box", "ok", model + rate, _("In memory, ready"));
}

function work(list) {
  return list.slice(0, 3).map((job) => {
    const share = job.progress === null || job.progress === undefined ? "" : ` ${percent(job.progress)}`;
    return item(null, "loader-circle", "", `${job.stage || job.kind}${share}`, job.kind);
  });
}

function door(network) {
  if (network?.door === "open") return item("/security", "door-open", "warn", _("Door open"), _("Something on this box may reach the network."));
  if (network?.door === "closed") return item("/security", "door-closed", "ok", _("Door closed"), _("Nothing leaves this box over the network."));
  return item("/security", "circle-question-mark", "warn", _("Door unknown"));
}

function show(status) {
  const [vaultIcon, tone, words] = VAULT[status.vault?.status] ?? ["circle-question-mark", "warn", _("Vault: {state}", { state: status.vault?.status ?? _("unknown") })];
  host.replaceChildren(item("/security", vaultIcon, tone, words), engine(status.engine), door(status.network), ...work(status.work ?? []), shortcutsHint());
}

function showUnreachable() {
  host.replaceChildren(item(null, "unplug", "bad", _("The box is not reachable; what it does now is not known")), shortcutsHint());
}

function shortcutsHint() {
  return el("a", { href: "#", class: "end", data: { shortcuts: "" }, "aria-label": _("Keyboard shortcuts") }, icon("keyboard"));
}

async function poll() {
  clearTimeout(timer);
  running?.abort();
  const mine = (running = new AbortController());
  const limit = setTimeout(() => mine.abort(), LIMIT_MS);
  let next = IDLE_MS;
  try {
    const status = await get("/api/status", { signal: mine.signal });
    if (mine !== running) return;
    show(status);
    if (["busy", "loading"].includes(status.engine?.state) || status.work?.length) next = BUSY_MS;
    document.dispatchEvent(new CustomEvent("box:status", { detail: status }));
  } catch (error) {
    if (mine !== running) return;
    if (error.status === 401) return;
    showUnreachable();
    document.dispatchEvent(new CustomEvent("box:status", { detail: null }));
  } finally {
    clearTimeout(limit);
  }
  clearTimeout(timer);
  timer = setTimeout(poll, document.hidden ? HIDDEN_MS : next);
}

/** Look again now, for example after something was started. */
export const refreshStatus = () => void poll();

document.addEventListener("visibilitychange", () => document.hidden || poll());
addEventListener("online", poll);
poll();
