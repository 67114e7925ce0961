// Code blocks: language, copy, wrap; colours once the block is complete.

import { copyText } from "./clipboard.js";
import { icon, el } from "./dom.js";
import { safeSpans } from "./markdown.js";
import { _ } from "./text.js";

const COLOUR_LIMIT = 60_000; // characters; longer code stays plain
let highlighter = null;

/** Give every bare <pre> below `root` its frame; with `open`, the block still grows and gets no colours yet. */
export function dressCode(root, { open = false } = {}) {
  for (const pre of root.querySelectorAll("pre[data-language]")) {
    if (pre.parentElement?.classList.contains("code")) continue;
    const language = pre.dataset.language;
    const frame = el("figure", { class: "code" });
    pre.replaceWith(frame);
    pre.tabIndex = 0;
    frame.append(head(language), pre);
    if (!open && language) void colour(pre, language);
  }
}

function head(language) {
  return el("figcaption", {},
    el("span", { class: "grow" }, language || _("text")),
    el("button", { type: "button", class: "tool", data: { wrap: "" }, "aria-pressed": "false" }, icon("wrap-text"), _("Wrap")),
    el("button", { type: "button", class: "tool", data: { copyCode: "" } }, icon("copy"), _("Copy")));
}

async function colour(pre, language) {
  const code = pre.querySelector("code");
  const text = code.textContent;
  if (text.length > COLOUR_LIMIT) return;
  highlighter ??= import("../vendor/highlight/highlight.js");
  const { default: hljs } = await highlighter;
  if (!hljs.getLanguage(language)) return;
  code.replaceChildren(safeSpans(hljs.highlight(text, { language, ignoreIllegals: true }).value));
}

document.addEventListener("click", (event) => {
  const wrap = event.target.closest("[data-wrap]");
  const copy = event.target.closest("[data-copy-code]");
  if (wrap) {
    const on = wrap.closest(".code").classList.toggle("wrapped");
    wrap.setAttribute("aria-pressed", String(on));
  }
  if (copy) void copyText(copy.closest(".code").querySelector("code").textContent, copy);
});
