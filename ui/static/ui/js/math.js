// Setting math as MathML. KaTeX (600 KB) is loaded only when an answer has some.

import { safeMath } from "./markdown.js";

let katex = null;

/** Set every unset `.math` element below `root`; what KaTeX refuses stays as its source. */
export async function setMath(root) {
  const found = root.querySelectorAll(".math:not([data-set])");
  if (!found.length) return;
  katex ??= import("../vendor/katex/katex.js");
  const { default: renderer } = await katex;
  for (const node of found) setOne(renderer, node);
}

function setOne(renderer, node) {
  const tex = node.textContent;
  const displayMode = node.classList.contains("display");
  node.dataset.set = "";
  try {
    const html = renderer.renderToString(tex, { output: "mathml", displayMode, throwOnError: true, trust: false, strict: "ignore", maxExpand: 200, maxSize: 20 });
    node.replaceChildren(safeMath(html));
    node.querySelector("math")?.setAttribute("aria-label", tex);
  } catch {
    node.classList.add("unset");
  }
}
