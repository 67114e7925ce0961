// The checks of a model as a timeline, each as a plain sentence with the evidence folded away.

import { el, icon } from "./dom.js";
import { evidence } from "./evidence.js";
import { visible } from "./facts.js";
import { duration, percent } from "./format.js";
import { _ } from "./text.js";

const STAGES = {
  source_policy: [_("Source"), _("Is it allowed to come from there?")],
  format_gate: [_("Format"), _("Is the file built as its format says, down to the last byte?")],
  integrity: [_("Integrity"), _("Are these the bytes that were promised?")],
  provenance: [_("Provenance"), _("Is there a signature, and whose?")],
  static_scan: [_("Contents"), _("Does it carry code, hidden text or a dangerous template?")],
  behavior: [_("Behaviour"), _("How does it answer when tried in a sandbox without network?")],
  diffusion: [_("Pipeline"), _("Are all parts of an image model there, and harmless?")],
};
const VERDICTS = {
  pass: ["circle-check", "ok", _("Passed")],
  refuse: ["circle-x", "bad", _("Refused")],
  inconclusive: ["triangle-alert", "bad", _("Could not be decided, so refused")],
  not_applicable: ["circle-minus", "", _("Not needed")],
  pending: ["circle-dashed", "", _("Waiting")],
};
const WORKING = ["loader-circle", "", _("Working")];
const NOT_REACHED = ["circle-minus", "", _("Not reached")];

/** A stage's name for people. */
export const stageTitle = (name) => STAGES[name]?.[0] ?? String(name ?? "").replaceAll("_", " ");

/** The stage that let the file go no further; null when none did. */
export const refusedBy = (stages) => stages.find(({ verdict }) => verdict === "refuse" || verdict === "inconclusive") ?? null;

/** How many stages passed, of those that apply. */
export function tally(stages) {
  const applying = stages.filter(({ verdict }) => verdict !== "not_applicable");
  return { passed: applying.filter(({ verdict }) => verdict === "pass").length, of: applying.length };
}

/** How far the stage at work is (0…1), from the share of the whole scan that the box tells; null when it does not. */
export function stageShare(stages, { stage, fraction } = {}) {
  const at = stages.findIndex(({ name }) => name === stage);
  if (at < 0 || !Number.isFinite(fraction)) return null;
  return Math.min(1, Math.max(0, fraction * stages.length - at));
}

/** The list of stages; `running` names the one at work now, `ended` says that nothing more will run. */
export function stageList(stages, { running = null, ended = false } = {}) {
  return el("ol", { class: "stages" }, stages.map((stage) => stageRow(stage, stage.name === running, ended)));
}

function stageRow(stage, running, ended) {
  const [title, question] = STAGES[stage.name] ?? [stageTitle(stage.name), ""];
  const [name, tone, word] = running ? WORKING : ended && stage.verdict === "pending" ? NOT_REACHED : (VERDICTS[stage.verdict] ?? VERDICTS.pending);
  const time = stage.duration_ms >= 50 ? el("span", { class: "tiny quiet num" }, duration(stage.duration_ms / 1000)) : null;
  const stopped = stage.verdict === "refuse" || stage.verdict === "inconclusive";
  return el("li", { class: running ? "running" : stage.verdict, "aria-current": running ? "step" : null },
    icon(name, name === "loader-circle" ? "spin" : tone),
    el("div", { class: "grow" },
      el("div", { class: "row" }, el("strong", {}, title), el("span", { class: `small ${tone || "quiet"}` }, word), running ? el("span", { class: "small quiet num", data: { stageShare: "" } }) : null, el("span", { class: "grow" }), time),
      el("p", { class: "small quiet" }, stage.reason ? visible(stage.reason) : question),
      evidence(stage, { open: stopped })));
}

/** Write how far the stage at work is into a list that stands on the page. */
export function showShare(root, share) {
  const place = root.querySelector("[data-stage-share]");
  if (place) place.textContent = share === null ? "" : percent(share);
}
