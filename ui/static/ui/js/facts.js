// Facts about a model as names and values. All of it may come out of a hostile file, so it is only ever text.

import { copyText } from "./clipboard.js";
import { el, tool } from "./dom.js";
import { bytes, duration, number, parameters } from "./format.js";
import { _ } from "./text.js";

const MOST_ROWS = 400;
const MOST_CHARACTERS = 4000;
const DEPTH = 3;
// control characters, and those that show nothing or turn the direction of a line
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u115f\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff0-\ufffb\u{e0000}-\u{e0fff}]/gu;

const NAMES = {
  sha256: _("SHA-256"), size_bytes: _("Size"), bytes: _("Size"), actual: _("Found"), expected: _("Expected"), license: _("Licence"),
  offset: _("At byte"), code: _("Code"), kind: _("Kind"), file: _("File"), files: _("Files"), rule: _("Rule"), source: _("Source"),
  policy: _("Policy"), pinned: _("Known to SecAI"), fingerprint: _("Fingerprint of its structure"), merkle_root: _("Root of its tensor digests"),
  template_sha256: _("SHA-256 of its chat template"), tensors: _("Tensors"), not_measured: _("Not measured"), values: _("Numbers looked at"),
  scales: _("Scales looked at"), zero_share: _("Share of zeros"), max_abs: _("Largest magnitude"), odd: _("Worth a look"), std: _("Spread"),
  pipeline: _("Pipeline"), notes: _("Notes"), architecture: _("Architecture"), quantization: _("Quantization"), parameters: _("Parameters"),
  context_length: _("Context"), tensor_count: _("Tensors"), data_offset: _("Weights begin at byte"), version: _("Version"), name: _("Name"),
  format: _("Format"), tokenizer_model: _("Tokenizer"), tokenizer_size: _("Tokens it knows"), block_count: _("Layers"), alignment: _("Alignment"),
};
const MEASURES = {
  size_bytes: bytes, bytes, parameters, offset: number, data_offset: number,
  context_length: (n) => _("{n} tokens", { n: number(n) }), alignment: (n) => _("{n} bytes", { n: number(n) }), seconds: duration,
};
const DIGEST = /^[0-9a-f]{64}$/;

/** The name of a field for people; the field's own where we have none, as it is when it comes out of a file. */
export const nameOf = (key) => NAMES[key] ?? (/^[a-z][a-z0-9_]*$/.test(key) ? key.charAt(0).toUpperCase() + key.slice(1).replaceAll("_", " ") : visible(key));

/** Text in which nothing hides: what cannot be seen is written as its code point. */
export function visible(text) {
  const whole = String(text);
  const shown = whole.slice(0, MOST_CHARACTERS).replace(UNSEEN, (c) => `⟨U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`);
  return whole.length > MOST_CHARACTERS ? `${shown} … ${_("({n} characters in all)", { n: number(whole.length) })}` : shown;
}

/** A list of names and values; entries without a value are left out, null when none is left. */
export function factList(entries, className = "fact-list") {
  const rows = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  if (!rows.length) return null;
  return el("dl", { class: className }, rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

/** A digest in full, to compare and to copy. */
export function digest(value) {
  const text = visible(value);
  const copy = tool("copy", _("Copy"), () => copyText(text, copy));
  return el("span", { class: "digest" }, el("code", {}, text), copy);
}

/** Part of the evidence that is folded away; what was unfolded stays so over updates. */
export function fold(keep, summary, ...content) {
  return el("details", { class: "fold", data: { keep } }, el("summary", {}, summary), ...content);
}

/** A text block that scrolls in itself and can be reached by keyboard. */
export const block = (label, ...content) => el("pre", { tabindex: "0", role: "region", "aria-label": label }, ...content);

/** Any object as names and values: what no page knows by name is shown all the same. */
export function anyFacts(object, depth = 0) {
  const entries = Object.entries(object).slice(0, MOST_ROWS);
  return factList(entries.map(([key, value]) => [nameOf(key), anyValue(value, key, depth)]));
}

function anyValue(value, key, depth) {
  if (value === null || value === undefined) return null;
  if (typeof value === "boolean") return value ? _("Yes") : _("No");
  if (typeof value === "number") return (MEASURES[key] ?? ((n) => (Number.isInteger(n) ? number(n) : String(n))))(value);
  if (typeof value !== "object") return DIGEST.test(value) ? digest(value) : bdi(value);
  if (depth >= DEPTH) return block(nameOf(key), visible(JSON.stringify(value, null, 1)));
  return Array.isArray(value) ? anyList(value, key, depth) : anyFacts(value, depth + 1);
}

function anyList(values, key, depth) {
  if (!values.length) return null;
  if (values.every((value) => typeof value !== "object")) return bdi(values.slice(0, MOST_ROWS).join(", "));
  return el("ul", { class: "any-list" }, values.slice(0, MOST_ROWS).map((value) => el("li", {}, anyValue(value, key, depth + 1))));
}

// what is written from right to left inside does not turn the line around it
const bdi = (text) => el("bdi", {}, visible(text));
