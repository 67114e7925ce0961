// Will it fit into memory? A colour, a word, the numbers, and where they come from.

import { get } from "./api.js";
import { el, icon } from "./dom.js";
import { factList } from "./facts.js";
import { bytes } from "./format.js";
import { _ } from "./text.js";

const VERDICTS = {
  fits: ["circle-check", "ok", (n, f) => _("Fits: needs {n}, {f} free", { n, f })],
  tight: ["triangle-alert", "warn", (n, f) => _("Tight: needs {n}, {f} free", { n, f })],
  no: ["circle-x", "bad", (n, f) => _("Too big: needs {n}, {f} free", { n, f })],
};
const BASES = {
  measured: _("measured on this box"),
  calibrated: _("estimated, corrected by loads measured here"),
  estimated: _("estimated"),
  size: _("estimated from its size alone"),
};
const PARTS = [["weights_bytes", _("Weights"), "weights"], ["cache_bytes", _("Memory for the conversation"), "cache"], ["buffers_bytes", _("Working buffers"), "buffers"]];

const isFit = (found) => Boolean(found && VERDICTS[found.verdict]);

/** What a model needs, folded open into its parts; null where it cannot be told. */
export function fitFold(found) {
  if (!isFit(found)) return null;
  const parts = PARTS.filter(([key]) => found[key] > 0);
  if (!parts.length) return el("p", { class: "fit small num" }, fitWords(found));
  return el("details", { class: "fit small num", data: { keep: "fit" } },
    el("summary", {}, fitWords(found)), partsBar(found, parts),
    factList([...parts.map(([key, name, kind]) => [el("span", { class: "row" }, el("i", { class: `swatch ${kind}` }), name), bytes(found[key])]), [_("In all"), bytes(found.needed_bytes)], [_("Free now"), bytes(found.free_bytes)]]));
}

/** The verdict in words, in one line. */
export function fitWords(found) {
  if (!isFit(found)) return null;
  const [name, tone, words] = VERDICTS[found.verdict];
  return el("span", { class: "fit-words" }, icon(name, tone),
    el("span", {}, el("span", { class: tone }, words(bytes(found.needed_bytes), bytes(found.free_bytes))), found.basis ? el("span", { class: "quiet" }, ` · ${BASES[found.basis] ?? found.basis}`) : null));
}

// the whole width is what is free, or what is needed where that is more
function partsBar(found, parts) {
  const whole = Math.max(found.free_bytes, found.needed_bytes, parts.reduce((sum, [key]) => sum + found[key], 0)) || 1;
  return el("div", { class: "parts-bar", "aria-hidden": "true" }, parts.map(([key, , kind]) => {
    const part = el("i", { class: kind });
    part.style.inlineSize = `${(found[key] / whole) * 100}%`;
    return part;
  }));
}

/** Whether a file of so many bytes may fit; null when the box cannot say. */
export async function fitOfSize(size) {
  try {
    return await get(`/api/models/fit?size_bytes=${Math.max(1, Math.round(size))}`);
  } catch {
    return null; // it is a help, not a gate
  }
}

/** Why loading or importing something too big may hurt, with the numbers. */
export const tooBig = ({ needed_bytes: needed, free_bytes: free }) =>
  _("It needs about {n}, and {f} are free. Loading it may fail or make everything on this machine slow.", { n: bytes(needed), f: bytes(free) });
