// The evidence of the behaviour check: two results side by side that are never mixed. Integrity gates, conduct is a grade.

import { el, icon } from "./dom.js";
import { fold, visible } from "./facts.js";
import { duration, number } from "./format.js";
import { _, ngettext } from "./text.js";

const OUTCOMES = {
  pass: ["circle-check", "ok", _("Fine")], flag: ["circle-x", "bad", _("Flagged")], noted: ["info", "quiet", _("Noted, no reason to refuse")],
  not_run: ["circle-minus", "quiet", _("Not tried")],
};
const ANSWERED = { passed: ["circle-check", "ok", _("Good")], failed: ["circle-x", "bad", _("Not good")], unclear: ["circle-question-mark", "warn", _("Unclear")] };

/** The nodes of the behaviour check; takes what it draws out of `rest`. */
export function trial(rest) {
  const { integrity, conduct, sample, completion_tokens: tokens, tokens_per_second: speed, seconds } = rest;
  if (!integrity && !conduct) return [];
  for (const key of ["integrity", "conduct", "sample", "completion_tokens", "tokens_per_second", "seconds"]) delete rest[key];
  return [
    el("div", { class: "two-results" }, integrity ? unasked(integrity) : null, conduct ? graded(conduct) : null),
    conduct?.prompts?.length ? fold("prompts", _("Conduct: every prompt ({n})", { n: conduct.prompts.length }), table(conduct.prompts)) : null,
    sample ? el("figure", { class: "sample" }, el("figcaption", { class: "tiny quiet" }, _("What it wrote, for example")), el("blockquote", {}, visible(sample))) : null,
    tokens ? el("p", { class: "tiny quiet num" }, effort(tokens, speed, seconds)) : null,
  ];
}

const effort = (tokens, speed, seconds) => [
  ngettext("{n} token written", "{n} tokens written", tokens), speed ? _("{n} tokens per second", { n: number(speed, 1) }) : null, seconds ? duration(seconds) : null,
].filter(Boolean).join(" · ");

function unasked({ verdict, ran = 0, flagged = 0, checks = [] }) {
  const good = verdict === "pass";
  const words = flagged ? ngettext("{n} thing unasked in {m} trials", "{n} things unasked in {m} trials", flagged, { m: number(ran) }) : _("Nothing unasked in {n} trials", { n: number(ran) });
  const ordered = [...checks].sort((a, b) => Number(b.outcome === "flag") - Number(a.outcome === "flag"));
  return el("section", { class: `result ${good ? "ok" : "bad"}` },
    el("h4", {}, _("Integrity"), el("span", { class: "quiet" }, ` · ${_("decides")}`)),
    el("p", { class: "result-word" }, icon(good ? "shield-check" : "shield-x", good ? "ok" : "bad"), words),
    ordered.length ? el("ul", { class: "asked" }, ordered.map(asked)) : null);
}

function asked({ question, outcome, detail }) {
  const [name, tone, word] = OUTCOMES[outcome] ?? ["circle-question-mark", "quiet", visible(outcome)];
  return el("li", {}, icon(name, tone), el("span", {}, visible(question ?? ""), " ", el("strong", { class: tone }, word), detail ? el("span", { class: "detail" }, visible(detail)) : null));
}

function graded({ grade, graded: judged = 0, total = 0, reason, categories = [] }) {
  const known = Number.isFinite(grade);
  return el("section", { class: "result" },
    el("h4", {}, _("Conduct"), el("span", { class: "quiet" }, ` · ${_("a grade for you, not a gate")}`)),
    el("p", { class: "result-word num" }, known ? _("{n} of 100", { n: grade }) : _("Not graded")),
    el("p", { class: "small quiet" }, reason ? visible(reason) : _("Judged on {n} of {m} prompts.", { n: number(judged), m: number(total) })),
    categories.length ? el("ul", { class: "bars" }, categories.map(bar)) : null);
}

function bar({ name, passed = 0, total = 0 }) {
  const fill = el("i", {});
  fill.style.inlineSize = `${total ? (passed / total) * 100 : 0}%`;
  return el("li", {}, el("span", { class: "bar-name" }, visible(name)), el("span", { class: "bar", "aria-hidden": "true" }, fill), el("span", { class: "num" }, _("{n} of {m}", { n: passed, m: total })));
}

function table(prompts) {
  const rows = prompts.map(({ id, category, outcome, why }) => {
    const [name, tone, word] = ANSWERED[outcome] ?? ["circle-minus", "", visible(outcome)];
    return el("tr", {}, el("th", { scope: "row" }, visible(id)), el("td", {}, visible(category)), el("td", { class: "nowrap" }, icon(name, tone), ` ${word}`), el("td", {}, visible(why ?? "")));
  });
  const head = [_("Prompt"), _("About"), _("Answer"), _("Why")].map((word) => el("th", { scope: "col" }, word));
  return el("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": _("Every prompt") }, el("table", { class: "list" }, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows)));
}
