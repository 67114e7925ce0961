// Model text → safe DOM. Raw HTML stays text, images and links load nothing, DOMPurify has the last word.

import MarkdownIt from "../vendor/markdown-it/markdown-it.js";
import DOMPurify from "../vendor/dompurify/purify.js";
import { mathRules } from "./math-rules.js";
import { _ } from "./text.js";

const TAGS = [
  "p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "strong", "em", "s", "blockquote", "ul", "ol", "li", "pre", "code",
  "table", "thead", "tbody", "tr", "th", "td", "a", "span", "div",
];
const SAFE = {
  ALLOWED_TAGS: TAGS,
  ALLOWED_ATTR: ["class", "start", "role", "tabindex", "aria-haspopup", "data-link", "data-language", "data-align"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  ADD_URI_SAFE_ATTR: ["data-link", "data-language", "data-align"], // inert data; no attribute here loads or leads anywhere
  RETURN_DOM_FRAGMENT: true,
};

const md = new MarkdownIt("default", { html: false, linkify: true, breaks: false, typographer: false });
md.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });
md.validateLink = () => true; // no link becomes an address before a person confirmed it; see links.js
md.use(mathRules);

const escape = (text) => md.utils.escapeHtml(text);

/** The host of an address for people to read, or the address itself when it has none. */
export function hostOf(address) {
  try {
    return new URL(address).host || address;
  } catch {
    return address;
  }
}

md.renderer.rules.image = (tokens, index, options, env, self) => {
  const token = tokens[index];
  const alt = self.renderInlineAsText(token.children ?? [], options, env) || _("no description");
  const host = hostOf(token.attrGet("src") ?? "").slice(0, 100);
  return `<span class="inert-image">${escape(_("Image not loaded: {alt} ({host})", { alt, host }))}</span>`;
};
md.renderer.rules.link_open = (tokens, index) =>
  `<a class="inert-link" role="link" tabindex="0" aria-haspopup="dialog" data-link="${escape(tokens[index].attrGet("href") ?? "")}">`;
md.renderer.rules.fence = (tokens, index) => {
  const token = tokens[index];
  const language = token.info.trim().split(/\s+/)[0]?.slice(0, 30) ?? "";
  return `<pre data-language="${escape(language)}"><code>${escape(token.content)}</code></pre>`;
};
md.renderer.rules.code_block = (tokens, index) => `<pre data-language=""><code>${escape(tokens[index].content)}</code></pre>`;
for (const rule of ["th_open", "td_open"]) {
  md.renderer.rules[rule] = (tokens, index, options, env, self) => {
    const align = /text-align:(\w+)/.exec(tokens[index].attrGet("style") ?? "")?.[1];
    tokens[index].attrs = align ? [["data-align", align]] : null;
    return self.renderToken(tokens, index, options);
  };
}

/** Parse `source` and return a DocumentFragment. `env` carries link definitions from block to block. */
export function renderMarkdown(source, env = {}) {
  const fragment = DOMPurify.sanitize(md.render(source, env), SAFE);
  for (const table of fragment.querySelectorAll("table")) {
    const frame = document.createElement("div");
    frame.className = "table-frame";
    frame.tabIndex = 0;
    table.replaceWith(frame);
    frame.append(table);
  }
  return fragment;
}

/** Highlighted code (spans with classes) as a safe fragment. */
export function safeSpans(html) {
  return DOMPurify.sanitize(html, { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], ALLOW_DATA_ATTR: false, ALLOW_ARIA_ATTR: false, RETURN_DOM_FRAGMENT: true });
}

/** MathML as a safe fragment: no links, no styles, no annotations. */
export function safeMath(mathml) {
  return DOMPurify.sanitize(mathml, {
    USE_PROFILES: { mathMl: true },
    FORBID_ATTR: ["style", "href", "xlink:href", "src", "id", "actiontype"],
    ALLOW_DATA_ATTR: false,
    FORBID_CONTENTS: ["annotation", "annotation-xml", "style", "script"],
    RETURN_DOM_FRAGMENT: true,
  });
}
