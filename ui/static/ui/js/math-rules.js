// Finding math in Markdown: \(…\), $…$ inline; \[…\], $$…$$ as blocks. Only marks it; math.js sets it.

const INLINE = [["\\(", "\\)"], ["$", "$"]];
const BLOCK = [["\\[", "\\]"], ["$$", "$$"]];
const LIMIT = 2000;

function inline(state, silent) {
  const { src, pos, posMax } = state;
  const pair = INLINE.find(([open]) => src.startsWith(open, pos));
  if (!pair || src.startsWith("$$", pos)) return false;
  const [open, close] = pair;
  const from = pos + open.length;
  const to = src.indexOf(close, from);
  if (to < 0 || to >= posMax || to === from || to - from > LIMIT) return false;
  const tex = src.slice(from, to);
  // a dollar sign is money unless the text hugs it and no digit follows
  if (open === "$" && (/^\s|\s$|\n/.test(tex) || /\d/.test(src[to + 1] ?? "") || src[to - 1] === "\\")) return false;
  if (!silent) state.push("math_inline", "span", 0).content = tex;
  state.pos = to + close.length;
  return true;
}

function block(state, startLine, endLine, silent) {
  const start = state.bMarks[startLine] + state.tShift[startLine];
  const first = state.src.slice(start, state.eMarks[startLine]);
  const pair = BLOCK.find(([open]) => first.startsWith(open));
  if (!pair || state.sCount[startLine] - state.blkIndent >= 4) return false;
  const [open, close] = pair;
  const lines = [first.slice(open.length)];
  let line = startLine;
  while (!lines.at(-1).trimEnd().endsWith(close)) {
    line += 1;
    if (line >= endLine || line - startLine > 100) return false;
    lines.push(state.src.slice(state.bMarks[line] + state.tShift[line], state.eMarks[line]));
  }
  if (silent) return true;
  const token = state.push("math_block", "div", 0);
  token.content = lines.join("\n").trimEnd().slice(0, -close.length).trim();
  token.map = [startLine, line + 1];
  state.line = line + 1;
  return true;
}

/** A markdown-it plugin. */
export function mathRules(md) {
  const escape = md.utils.escapeHtml;
  md.inline.ruler.before("escape", "math_inline", inline);
  md.block.ruler.before("paragraph", "math_block", block, { alt: ["paragraph", "blockquote", "list"] });
  md.renderer.rules.math_inline = (tokens, i) => `<span class="math">${escape(tokens[i].content)}</span>`;
  md.renderer.rules.math_block = (tokens, i) => `<div class="math display">${escape(tokens[i].content)}</div>`;
}
