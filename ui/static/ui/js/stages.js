// The checks of a model, each as a plain sentence with the evidence folded away.

import { el, icon } from "./dom.js";
import { duration } from "./format.js";
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
  inconclusive: ["triangle-alert", "warn", _("Could not be decided")],
  not_applicable: ["circle-minus", "", _("Not needed")],
  pending: ["circle-dashed", "", _("Waiting")],
};

const NOT_REACHED = ["circle-minus", "", _("Not reached")];

/** The list of stages; `running` names the one at work now, `ended` says that nothing more will run. */
export function stageList(stages, { running = null, ended = false } = {}) {
  return el("ol", { class: "stages" }, stages.map((stage) => stageRow(stage, stage.name === running, ended)));
}

function stageRow(stage, running, ended) {
  const [title, question] = STAGES[stage.name] ?? [stage.name, ""];
  const [name, tone, word] = running ? ["loader-circle", "", _("Working")] : ended && stage.verdict === "pending" ? NOT_REACHED : (VERDICTS[stage.verdict] ?? VERDICTS.pending);
  const time = stage.duration_ms >= 50 ? el("span", { class: "tiny quiet num" }, duration(stage.duration_ms / 1000)) : null;
  return el("li", {},
    icon(name, name === "loader-circle" ? "spin" : tone),
    el("div", { class: "grow" },
      el("div", { class: "row" }, el("strong", {}, title), el("span", { class: `small ${tone}` }, word), el("span", { class: "grow" }), time),
      el("p", { class: "small quiet" }, stage.reason || question),
      evidence(stage)));
}

function evidence(stage) {
  const entries = Object.entries(stage.evidence ?? {});
  if (!entries.length) return null;
  const rows = entries.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, shown(value))));
  const version = stage.version ? el("p", { class: "tiny quiet" }, _("Checked by {version}", { version: stage.version })) : null;
  return el("details", { class: "evidence", data: { keep: stage.name } }, el("summary", { class: "tiny" }, _("Evidence")), el("dl", {}, rows), version);
}

function shown(value) {
  if (value === null || typeof value !== "object") return String(value);
  if (Array.isArray(value) && value.every((item) => typeof item !== "object")) return value.join(", ") || "–";
  return el("pre", {}, JSON.stringify(value, null, 1));
}
