// The evidence of the contents check: identity, chat template as code, rules, statistics of the weights.

import { el, icon } from "./dom.js";
import { anyFacts, block, digest, factList, fold, nameOf, visible } from "./facts.js";
import { number, percent } from "./format.js";
import { _ } from "./text.js";

const IDENTITY = ["fingerprint", "merkle_root", "template_sha256"];
const ODD = { infinite: _("holds an infinite number"), zero: _("is all zeros"), constant: _("holds one number throughout") };

/** The nodes of the contents check; takes what it draws out of `rest`. */
export function contents(rest) {
  const { template, rules, statistics, second_opinion: opinion } = rest;
  const identity = factList(IDENTITY.map((key) => [nameOf(key), rest[key] ? digest(rest[key]) : null]));
  for (const key of [...IDENTITY, "template", "rules", "statistics", "second_opinion", "chat", "purpose"]) delete rest[key];
  return [identity, template ? review(template) : null, rules ? matched(rules) : null, opinion ? secondOpinion(opinion) : null, statistics ? weights(statistics) : null];
}

const part = (title, ...content) => el("section", { class: "part" }, el("h4", {}, title), ...content);

function review({ family, nearest, findings = [], diff = [], literals = [] }) {
  const like = family ? _("It renders conversations exactly like the “{family}” family.", { family: visible(family) })
    : nearest?.name ? _("It is of no known family; nearest is “{family}” ({share} alike).", { family: visible(nearest.name), share: percent(nearest.similarity ?? 0) })
      : _("It is of no known family.");
  return part(_("Chat template, read as code"),
    el("p", { class: "row" }, icon(family ? "circle-check" : "info", family ? "ok" : ""), el("span", {}, like)),
    findings.length ? el("ul", { class: "findings" }, findings.map(finding)) : null,
    literals.length ? fold("literals", _("Texts of its own that it adds ({n})", { n: literals.length }), el("ul", { class: "literals" }, literals.map((text) => el("li", {}, el("code", {}, visible(text)))))) : null,
    diff.length ? fold("diff", _("Compared with its nearest family"), difference(diff)) : null);
}

function finding({ text, code, line }) {
  const where = line > 0 ? _("line {n}", { n: number(line) }) : null;
  return el("li", {}, icon("circle-x", "bad"), el("span", {}, visible(text), el("span", { class: "quiet" }, [where, code ? visible(code) : null].filter(Boolean).map((word) => ` · ${word}`).join(""))));
}

/** A unified diff; each line keeps its sign, so that colour only repeats what is written. */
function difference(lines) {
  return block(_("Differences"), el("code", { class: "diff" }, lines.flatMap((line) => [differing(String(line)), "\n"])));
}

function differing(line) {
  const shown = visible(line.replace(/\n$/, "")) || " ";
  if (/^(\+\+\+|---|@@)/.test(line)) return el("span", { class: "hunk" }, shown);
  if (line.startsWith("+")) return el("ins", {}, shown);
  if (line.startsWith("-")) return el("del", {}, shown);
  return shown;
}

function matched({ version, matches = [] }) {
  const by = version ? el("span", { class: "quiet" }, ` · ${_("rules {version}", { version: visible(version).slice(0, 12) })}`) : null;
  if (!matches.length) return part(_("Rules"), el("p", { class: "row" }, icon("circle-check", "ok"), el("span", {}, _("None of the rules for hidden programs and known attacks matched."), by)));
  return part(_("Rules"), el("ul", { class: "findings" }, matches.map((match) => el("li", {}, icon("circle-x", "bad"),
    el("span", {}, visible(match.meaning ?? match.rule), el("span", { class: "quiet" }, ` · ${visible(match.rule ?? "")}${match.file ? ` · ${visible(match.file)}` : ""}${Number.isFinite(match.offset) ? ` · ${_("byte {n}", { n: number(match.offset) })}` : ""}`))))), by);
}

function secondOpinion({ name, verdict, findings = [] }) {
  const lines = findings.map((one) => el("li", {}, visible(one.text ?? one), one.severity ? el("span", { class: "quiet" }, ` · ${visible(one.severity)}`) : null));
  return part(_("Second opinion: {name}", { name: visible(name) }), el("p", {}, visible(verdict)), lines.length ? el("ul", { class: "notes" }, lines) : null);
}

function weights({ notable = [], zero_share: zeros, ...counts }) {
  const rows = notable.map((one) => el("li", {}, el("code", {}, visible(one.tensor)), ` ${ODD[one.what] ?? visible(one.what)}`));
  return part(_("The numbers in its weights"), anyFacts(counts), Number.isFinite(zeros) ? factList([[nameOf("zero_share"), _("{n} %", { n: number(zeros * 100, 2) })]]) : null,
    rows.length ? fold("notable", _("Tensors worth a look ({n})", { n: rows.length }), el("ul", { class: "notes" }, rows)) : null);
}
