// One model as a card: what it is, whether it fits, what the checks say, what can be done.

import { el, icon, may } from "./dom.js";
import { downloadButtons, downloadProgress } from "./downloads.js";
import { explanation } from "./evidence.js";
import { digest, factList, fold, visible } from "./facts.js";
import { fitFold } from "./fit.js";
import { bytes, duration, number, onDay, parameters, percent } from "./format.js";
import { canChat, groupOf, isDownload, isLoadable, isQueued, keyOf, stateOf, useOf } from "./model-states.js";
import { remedy } from "./remedies.js";
import { showShare, stageList, stageShare, stageTitle, tally } from "./stages.js";
import { _, ngettext } from "./text.js";

/** Build the card. `doing` is what it is doing now (a sentence) or null, `place` how many are checked before it. */
export function modelCard(model, actions, { doing = null, place = null } = {}) {
  const [name, tone, word] = stateOf(model);
  const card = el("article", { class: `card model ${groupOf(model) === "ready" ? "" : "wide"}`, id: anchorOf(model), tabindex: "-1", data: { key: keyOf(model), status: model.status }, "aria-label": model.name },
    el("header", { class: "row wrap" },
      el("h3", { class: "grow" }, visible(model.name)),
      model.loaded ? el("span", { class: "badge ok" }, icon("zap"), _("In memory")) : null,
      el("span", { class: `badge ${tone}` }, icon(name, name === "loader-circle" ? "spin" : ""), word)),
    glance(model),
    fitOf(model),
    el("div", { data: { live: "" } }),
    notice(model),
    facts(model),
    checks(model),
    identity(model),
    el("footer", { class: "row wrap" }, doing ? el("span", { class: "small quiet row" }, icon("loader-circle", "spin"), doing) : buttons(model, actions)));
  updateLive(card, model, place);
  return card;
}

/** The address of a card on the page. */
export const anchorOf = (model) => `model-${model.id ?? model.download?.id ?? model.name}`;

// a card is rebuilt when this changes; what moves all the time is written into it by `updateLive`
export function steady(model) {
  const { progress, download, fit, ...rest } = model;
  const { received_bytes: _r, rate_bytes_per_s: _s, seconds_left: _l, ...still } = download ?? {};
  const { free_bytes: free = 0, ...weighed } = fit ?? {};
  return JSON.stringify([rest, progress?.stage ?? null, still, weighed, Math.round(free / 2 ** 28)]);
}

/** Write how far a check or a download is into a card that stands on the page. */
export function updateLive(card, model, place) {
  const live = card.querySelector("[data-live]");
  const content = isDownload(model) ? downloadProgress(model.download) : isQueued(model) ? scanProgress(model, place) : null;
  live.replaceChildren(...(content ? [content].flat() : []));
  live.hidden = !content;
  showShare(card, stageShare(model.stages ?? [], model.progress ?? {}));
}

function glance(model) {
  const use = useOf(model);
  const parts = [parameters(model.parameters), model.quantization, model.size_bytes ? bytes(model.size_bytes) : null].filter(Boolean);
  if (!use && !parts.length) return null;
  return el("p", { class: "glance small num" },
    use ? el("span", { class: "use" }, icon(use[0]), use[1]) : null,
    parts.length ? el("span", { class: "quiet" }, parts.map(visible).join(" · ")) : null);
}

const fitOf = ({ fit, loaded, status }) => (fit && !loaded && status !== "failed" && status !== "refused" ? fitFold(fit) : null);

// --- while it waits and is checked ---------------------------------------------------------------------

const begun = new Map(); // card and stage → when this page first saw it there

function scanProgress(model, place) {
  if (model.status === "waiting") return el("p", { class: "small quiet row" }, icon("hourglass"), queueWords(place));
  const { progress = null, stages = [] } = model;
  const at = stages.findIndex(({ name }) => name === progress?.stage);
  const share = stageShare(stages, progress ?? {});
  const text = [
    at < 0 ? _("Starting its checks") : _("Check {n} of {m}: {stage}", { n: at + 1, m: stages.length, stage: stageTitle(progress.stage) }),
    share === null ? null : percent(share), elapsed(model, at),
  ].filter(Boolean).join(" · ");
  return el("div", { class: "stack tight" }, el("span", { class: "small num" }, text), el("progress", { max: "1", value: progress?.fraction ?? null, "aria-label": _("Checking {name}", { name: model.name }) }));
}

function queueWords(place) {
  if (place === null || place === undefined) return _("In the queue");
  return place === 0 ? _("Next in the queue") : ngettext("In the queue: {n} file is checked before it", "In the queue: {n} files are checked before it", place);
}

// the checks that ended say how long they took; the one at work counts from when this page saw it
function elapsed(model, at) {
  const key = `${keyOf(model)} ${at}`;
  if (!begun.has(key)) begun.set(key, Date.now());
  const done = (model.stages ?? []).reduce((sum, stage) => sum + (stage.duration_ms ?? 0), 0);
  return duration(Math.floor((done + Date.now() - begun.get(key)) / 1000));
}

// --- what was found ------------------------------------------------------------------------------------

const HELD = _("Every check passed. This box is set to let a person decide: read the checks, then promote or remove it.");

function notice(model) {
  const { status, reason, download, stages = [] } = model;
  const held = status === "held";
  const failed = ["refused", "failed", "download_failed"].includes(status);
  if (!held && !failed && !(status === "paused" && reason)) return null;
  const text = held ? HELD : (reason ?? download?.reason);
  const todo = remedy(model);
  return el("div", { class: `notice ${failed ? "bad" : "warn"}` }, icon(failed ? "circle-alert" : "shield-alert"),
    el("div", { class: "grow stack tight" },
      text ? el("strong", {}, visible(text)) : null,
      failed ? explanation(stages) : null,
      todo ? el("p", {}, el("span", { class: "todo-word" }, _("What to do: ")), todo) : null,
      status === "refused" ? el("p", { class: "quiet" }, _("It stays in quarantine and cannot run.")) : null));
}

function facts(model) {
  const proof = provenance(model);
  const grade = model.stages?.find(({ name }) => name === "behavior")?.evidence?.conduct?.grade;
  return factList([
    [_("Context"), model.context_length ? _("{n} tokens", { n: number(model.context_length) }) : null],
    [_("Architecture"), shown(model.architecture)],
    [_("Licence"), shown(model.license)],
    [_("Format"), shown(model.format)],
    [_("Signature"), proof],
    [_("Conduct"), Number.isFinite(grade) ? _("{n} of 100", { n: grade }) : null],
    [_("Promoted"), model.promoted_at ? onDay(model.promoted_at) : null],
    [_("Source"), cameFrom(model.source)],
  ], "facts num");
}

function cameFrom(source) {
  if (source === "local") return _("Uploaded here");
  return source?.startsWith("bundled:") ? _("Ships with SecAI") : shown(source);
}

const shown = (value) => (value ? el("bdi", {}, visible(value)) : null);

function provenance({ stages = [] }) {
  const found = stages.find(({ name }) => name === "provenance")?.evidence;
  if (!found || !("signed" in found)) return null;
  if (found.signer?.name) return visible(found.signer.name);
  return found.pinned ? _("SecAI's release") : _("Unsigned");
}

function checks({ stages = [], status, progress, facts }) {
  if (!stages.length) return null;
  const live = status === "scanning" || status === "waiting";
  const { passed, of } = tally(stages);
  return el("details", { class: "checks", data: { keep: "checks" }, open: status === "scanning" },
    el("summary", { class: "small" }, _("Checks: {n} of {m} passed", { n: passed, m: of })),
    stageList(withFacts(stages, facts), { running: live ? progress?.stage : null, ended: !live }));
}

// once promoted, what its header says stands at the model and no longer in the evidence of the check
const withFacts = (stages, found) => stages.map((stage) => (stage.name === "format_gate" && found && !stage.evidence?.facts ? { ...stage, evidence: { ...stage.evidence, facts: found } } : stage));

// what the same model must have everywhere
function identity(model) {
  if (isDownload(model)) return null;
  const scan = model.stages?.find(({ name }) => name === "static_scan")?.evidence ?? {};
  const root = model.gguf_guard_manifest ?? scan.merkle_root;
  const list = factList([
    [_("SHA-256 of the file"), model.sha256 ? digest(model.sha256) : null],
    [_("Fingerprint of its structure"), whole(model.gguf_guard_fingerprint ?? scan.fingerprint)],
    [_("SHA-256 of its chat template"), whole(scan.template_sha256 ?? scan.template?.sha256)],
    [_("Root of its tensor digests"), whole(root)],
  ]);
  return list ? fold("identity", el("span", { class: "row" }, icon("fingerprint"), _("Digests and fingerprint")), list) : null;
}

const whole = (value) => (typeof value === "string" && value ? digest(value) : null);

// --- what can be done ----------------------------------------------------------------------------------

function buttons(model, actions) {
  const button = (label, name, run, tone = "") => el("button", { type: "button", class: `button small ${tone}`, on: { click: () => run(model) } }, icon(name), label);
  if (isDownload(model)) return downloadButtons(model, actions, button);
  const list = [];
  if (model.status === "promoted" && !model.loaded && isLoadable(model) && may("chat")) list.push(button(_("Load"), "zap", actions.load));
  if (model.loaded && canChat(model)) list.push(el("a", { class: "button small primary", href: "/" }, icon("message-square-text"), _("Chat")));
  if (!may("models")) return list;
  if (model.loaded) list.push(button(_("Unload"), "square", actions.unload));
  if (model.status === "held") list.push(button(_("Promote"), "shield-check", actions.promote, "primary"));
  if (["refused", "held"].includes(model.status)) list.push(button(_("Check again"), "rotate-ccw", actions.rescan));
  if (model.status !== "scanning") list.push(el("span", { class: "grow" }), button(_("Remove"), "trash-2", actions.remove));
  return list;
}
