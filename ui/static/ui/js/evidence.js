// What a check rests on, drawn by its kind; what no drawing knows is listed by name and value.

import { el, icon } from "./dom.js";
import { anyFacts, block, digest, factList, fold, nameOf, visible } from "./facts.js";
import { number } from "./format.js";
import { contents } from "./contents.js";
import { trial } from "./trial.js";
import { _, ngettext } from "./text.js";

const DRAWN = { format_gate: format, integrity: comparison, provenance, static_scan: contents, behavior: trial, diffusion: pipeline };
const HEADLINE = ["format", "version", "name", "architecture", "quantization", "parameters", "context_length", "tensor_count", "files", "block_count", "tokenizer_model", "tokenizer_size", "alignment", "data_offset"];

/** The folded evidence of a stage; open where it explains a refusal. Null when there is none. */
export function evidence(stage, { open = false } = {}) {
  const content = drawn(stage);
  if (!content.length) return null;
  const version = stage.version ? el("p", { class: "tiny quiet" }, _("Checked by version {version} of this check", { version: stage.version })) : null;
  return el("details", { class: "evidence", data: { keep: stage.name }, open }, el("summary", { class: "tiny" }, _("Evidence")), el("div", { class: "evidence-body" }, content, version));
}

/** A drawing takes what it knows out of `rest`; it returns nodes, and what is left is listed. */
function drawn({ name, evidence: found }) {
  const rest = { ...(found ?? {}) };
  if (!Object.keys(rest).length) return [];
  const nodes = DRAWN[name]?.(rest) ?? [];
  return [...nodes, anyFacts(rest)].flat().filter(Boolean);
}

/** What a refused program would have done: the summary and its sentences; null when nothing explains it. */
export function explanation(stages) {
  const found = stages.find(({ evidence: shown }) => shown?.explanation)?.evidence.explanation;
  if (!found) return null;
  const did = Array.isArray(found.would_do) ? found.would_do : [];
  return el("section", { class: "would-do" },
    found.summary ? el("p", {}, visible(found.summary)) : null,
    did.length ? el("h4", {}, _("What it would have done")) : null,
    did.length ? el("ul", {}, did.map((sentence) => el("li", {}, visible(sentence)))) : null);
}

function format(rest) {
  const { facts = {}, explanation: explained } = rest;
  delete rest.facts;
  delete rest.explanation;
  const { tensor_types: types, metadata, chat_template: template, notes, ...others } = facts;
  const headline = pick(HEADLINE.filter((key) => key in others), others);
  const more = pick(Object.keys(others).filter((key) => !HEADLINE.includes(key)), others);
  if (typeof rest.format === "string") headline.format = rest.format;
  delete rest.format;
  return [
    Object.keys(headline).length ? el("div", { class: "two-columns" }, anyFacts(headline)) : null, kinds(types), list(notes), scanners(explained),
    metadata && Object.keys(metadata).length ? fold("metadata", _("What its header says ({n} entries)", { n: Object.keys(metadata).length }), anyFacts(metadata)) : null,
    Object.keys(more).length ? fold("more-facts", _("More facts"), anyFacts(more)) : null,
    typeof template === "string" ? fold("template-text", _("The text of its chat template"), block(_("Chat template"), visible(template))) : null,
  ];
}

const pick = (keys, from) => Object.fromEntries(keys.map((key) => [key, from[key]]));
const list = (notes) => (Array.isArray(notes) && notes.length ? el("ul", { class: "notes" }, notes.map((note) => el("li", {}, visible(note?.text ?? note)))) : null);

function kinds(types) {
  if (!types || !Object.keys(types).length) return null;
  return el("ul", { class: "chips", "aria-label": _("Kinds of tensors") }, Object.entries(types).map(([type, count]) => el("li", { class: "badge num" }, `${visible(type)} × ${number(count)}`)));
}

function scanners(explained) {
  if (!Array.isArray(explained?.scanners)) return null;
  return el("div", { class: "table-scroll" }, el("table", { class: "list" },
    el("caption", {}, _("What known scanners say of it")),
    el("tbody", {}, explained.scanners.map(({ name, verdict, findings }) => el("tr", {}, el("th", { scope: "row" }, visible(name)), el("td", {}, visible(verdict)), el("td", {}, list(findings) ?? "–"))))));
}

// what was found beside what was expected, one under the other, so that eyes can compare
function comparison(rest) {
  const digests = ["expected", "actual", "sha256"].filter((key) => typeof rest[key] === "string");
  const nodes = digests.map((key) => [nameOf(key), digest(rest[key])]);
  for (const key of digests) delete rest[key];
  return [factList(nodes)];
}

function provenance(rest) {
  const { signed, signer, pinned } = rest;
  for (const key of ["signed", "signer", "pinned"]) delete rest[key];
  const words = signed && signer ? [icon("shield-check", "ok"), _("Signed by “{name}”, whom this box trusts", { name: visible(signer.name) })]
    : pinned ? [icon("shield-check", "ok"), _("Vouched for by SecAI's own release, by its digest")]
      : [icon("circle-minus"), _("Unsigned: nobody vouches for who made it")];
  const about = signer ? factList([[_("Kind of signature"), signer.kind ? visible(signer.kind) : null], [_("Fingerprint of the key"), signer.fingerprint ? digest(signer.fingerprint) : null]]) : null;
  return [el("p", { class: "row" }, words), about];
}

function pipeline(rest) {
  const { components, findings } = rest;
  delete rest.components;
  delete rest.findings;
  return [found(findings), Array.isArray(components) && components.length ? parts(components) : null];
}

const found = (findings) => (Array.isArray(findings) && findings.length
  ? el("ul", { class: "findings" }, findings.map(({ text, file }) => el("li", {}, icon("circle-x", "bad"), el("span", {}, visible(text), file ? el("span", { class: "quiet" }, ` · ${visible(file)}`) : null))))
  : null);

function parts(components) {
  const rows = components.map((part) => el("tr", {}, el("th", { scope: "row" }, visible(part.name)), el("td", {}, visible(part.class)), el("td", {}, visible(part.library))));
  return el("div", { class: "table-scroll" }, el("table", { class: "list" },
    el("caption", {}, ngettext("{n} part", "{n} parts", components.length)),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, _("Part")), el("th", { scope: "col" }, _("What it is")), el("th", { scope: "col" }, _("Library")))), el("tbody", {}, rows)));
}
