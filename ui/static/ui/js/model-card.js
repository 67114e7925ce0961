// One model as a card: what it is, whether it fits, what the checks say, what can be done.

import { el, icon, may } from "./dom.js";
import { bytes, number, onDay, parameters, percent } from "./format.js";
import { stageList } from "./stages.js";
import { _ } from "./text.js";

const STATUS = {
  promoted: ["shield-check", "ok", _("Checked")],
  waiting: ["hourglass", "", _("Waiting for its check")],
  scanning: ["loader-circle", "", _("Being checked")],
  refused: ["shield-x", "bad", _("Refused")],
  held: ["shield-alert", "warn", _("Passed, waits for you")],
  failed: ["shield-x", "bad", _("Out of use")],
};
const FIT = {
  fits: ["circle-check", "ok", (n, f) => _("Fits: needs {n}, {f} free", { n, f })],
  tight: ["triangle-alert", "warn", (n, f) => _("Tight: needs {n}, {f} free", { n, f })],
  no: ["circle-x", "bad", (n, f) => _("Too big: needs {n}, {f} free", { n, f })],
};

/** The key under which a card is kept between updates. */
export const keyOf = (model) => (model.id ? `q:${model.id}` : `m:${model.name}`);

/** Build the card; `busy` is what it is doing now (a sentence) or null. */
export function modelCard(model, actions, busy = null) {
  const [name, tone, word] = STATUS[model.status] ?? ["circle-question-mark", "warn", model.status];
  return el("article", { class: `card model ${model.id ? "wide" : ""}`, data: { key: keyOf(model), status: model.status }, "aria-label": model.name },
    el("header", { class: "row wrap" },
      el("h2", { class: "grow" }, model.name),
      model.loaded ? el("span", { class: "badge ok" }, icon("zap"), _("In memory")) : null,
      el("span", { class: `badge ${tone}` }, icon(name, name === "loader-circle" ? "spin" : ""), word)),
    facts(model),
    fit(model),
    progress(model),
    reason(model),
    checks(model),
    el("footer", { class: "row wrap" }, busy ? el("span", { class: "small quiet row" }, icon("loader-circle", "spin"), busy) : buttons(model, actions)));
}

function facts(model) {
  const list = [
    [_("Size"), bytes(model.size_bytes)],
    [_("Parameters"), parameters(model.parameters)],
    [_("Quantization"), model.quantization],
    [_("Context"), model.context_length ? _("{n} tokens", { n: number(model.context_length) }) : null],
    [_("Architecture"), model.architecture],
    [_("Licence"), model.license],
    [_("Format"), model.format],
    [_("Source"), model.source],
    [_("Promoted"), model.promoted_at ? onDay(model.promoted_at) : null],
  ].filter(([, value]) => value);
  return el("dl", { class: "facts" }, list.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", { class: "num" }, String(value)))));
}

function fit({ fit: found, loaded }) {
  if (!found || loaded) return null;
  const [name, tone, words] = FIT[found.verdict] ?? FIT.no;
  return el("p", { class: `fit small num ${tone}` }, icon(name), words(bytes(found.needed_bytes), bytes(found.free_bytes)));
}

function progress({ progress: at }) {
  if (!at) return null;
  const text = `${stageWord(at.stage)} ${at.fraction === null ? "" : percent(at.fraction)}`;
  return el("div", { class: "stack tight" }, el("span", { class: "small quiet num" }, text), el("progress", { max: "1", value: at.fraction ?? null, "aria-label": text }));
}

const stageWord = (stage) => (stage ? _("Checking: {stage}", { stage: String(stage).replaceAll("_", " ") }) : _("Checking"));

const EXPLAINED = {
  refused: _("It stays in quarantine and cannot run. The checks below say why. If you think that is wrong, check it again after an update of the box, or import a file from another source."),
  held: _("Every check passed. This box is set to let a person decide: read the checks, then promote or remove it."),
  failed: _("Remove it and import it again from a source you trust."),
};

function reason({ status, reason: text }) {
  if (!text && !EXPLAINED[status]) return null;
  const tone = status === "held" ? "warn" : "bad";
  return el("div", { class: `notice ${tone}` }, icon(status === "held" ? "shield-alert" : "circle-alert"),
    el("div", {}, text ? el("strong", {}, text) : null, EXPLAINED[status] ? el("p", {}, EXPLAINED[status]) : null));
}

function checks({ stages = [], status, progress: at, sha256 }) {
  if (!stages.length) return null;
  const live = status === "scanning" || status === "waiting";
  const passed = stages.filter(({ verdict }) => verdict === "pass").length;
  const open = live || status === "refused" || status === "held";
  return el("details", { class: "checks", data: { keep: "checks" }, open },
    el("summary", { class: "small" }, _("Checks: {n} of {m} passed", { n: passed, m: stages.filter(({ verdict }) => verdict !== "not_applicable").length })),
    stageList(stages, { running: live ? at?.stage : null, ended: !live }),
    sha256 ? el("p", { class: "tiny quiet hash" }, "SHA-256 ", el("code", {}, sha256)) : null);
}

function buttons(model, actions) {
  const button = (label, name, run, tone = "") => el("button", { type: "button", class: `button small ${tone}`, on: { click: () => run(model) } }, icon(name), label);
  const list = [];
  if (model.status === "promoted" && !model.loaded && may("chat")) list.push(button(_("Load"), "zap", actions.load));
  if (model.loaded) list.push(el("a", { class: "button small primary", href: "/" }, icon("message-square-text"), _("Chat")));
  if (!may("models")) return list;
  if (model.loaded) list.push(button(_("Unload"), "square", actions.unload));
  if (model.status === "held") list.push(button(_("Promote"), "shield-check", actions.promote, "primary"));
  if (["refused", "held"].includes(model.status)) list.push(button(_("Check again"), "rotate-ccw", actions.rescan));
  list.push(el("span", { class: "grow" }), button(_("Remove"), "trash-2", actions.remove));
  return list;
}
