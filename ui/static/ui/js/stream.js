// Rendering an answer while it grows: finished blocks are rendered once, only the open one is rendered again.

import { BoundaryScanner } from "./boundary.js";
import { dressCode } from "./code.js";
import { renderMarkdown } from "./markdown.js";
import { setMath } from "./math.js";

const SHARE = 4; // a render may take at most a quarter of the time
const FENCE_LINE = /^ {0,3}(?:`{3,}|~{3,})\s*([^\s`]*)/;

/** Renders into `root`; call `push` for each delta and `finish` at the end. `onFrame` runs after each render. */
export class StreamRenderer {
  constructor(root, onFrame = () => {}) {
    Object.assign(this, { root, onFrame, scanner: new BoundaryScanner(), env: {}, all: [] });
    this.line = ""; // the unfinished last line
    this.open = ""; // the open block, whole lines
    this.openStart = 0;
    this.nodes = []; // what the open block is rendered as now
    this.code = null; // the text node of an open code block
    this.frame = 0;
    this.notBefore = 0;
  }

  push(text) {
    this.all.push(text);
    const lines = (this.line + text).split("\n");
    this.line = lines.pop();
    for (const line of lines) this.take(line);
    if (!this.frame) this.frame = requestAnimationFrame((now) => this.draw(now));
  }

  /** Everything received so far. */
  get text() {
    if (this.all.length > 1) this.all = [this.all.join("")];
    return this.all[0] ?? "";
  }

  finish() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.code = null;
    if (this.scanner.definitions) {
      this.root.replaceChildren(); // earlier blocks may use a link defined later
      this.nodes = [];
      this.commit(this.text);
    } else {
      this.commit(this.open + this.line);
    }
    this.open = this.line = "";
    this.onFrame();
  }

  take(line) {
    const cut = this.scanner.line(line);
    const whole = `${line}\n`;
    if (cut === null) this.open += whole;
    else if (cut > this.openStart + this.open.length) this.commitAt(cut, this.open + whole, "");
    else this.commitAt(cut, this.open, whole);
  }

  commitAt(cut, finished, rest) {
    this.code = null;
    this.commit(finished);
    this.open = rest;
    this.openStart = cut;
  }

  commit(source) {
    const fragment = renderMarkdown(source, this.env);
    dressCode(fragment);
    void setMath(fragment);
    this.replaceOpen([...fragment.childNodes]);
    this.nodes = [];
  }

  replaceOpen(nodes) {
    for (const node of this.nodes) node.remove();
    this.root.append(...nodes);
    this.nodes = nodes;
  }

  draw(now) {
    this.frame = 0;
    if (now < this.notBefore) {
      this.frame = requestAnimationFrame((later) => this.draw(later));
      return;
    }
    const started = performance.now();
    if (this.scanner.kind === "fence" && this.scanner.close) this.drawCode();
    else this.replaceOpen([...renderMarkdown(this.open + this.line, this.env).childNodes]);
    this.onFrame();
    this.notBefore = now + (performance.now() - started) * SHARE;
  }

  // an open code block only gets text appended: its cost does not grow with its length
  drawCode() {
    const source = this.open + this.line;
    const from = source.indexOf("\n") + 1;
    if (!this.code) {
      const pre = document.createElement("pre");
      pre.dataset.language = FENCE_LINE.exec(source)?.[1] ?? "";
      pre.append(document.createElement("code"));
      pre.firstChild.append((this.code = document.createTextNode("")));
      this.replaceOpen([pre]);
      dressCode(this.root, { open: true });
      this.nodes = [pre.parentElement === this.root ? pre : pre.closest(".code")];
      this.drawn = from;
    }
    if (source.length > this.drawn) this.code.appendData(source.slice(this.drawn));
    this.drawn = source.length;
  }
}

/** Render a finished text at once. */
export function renderWhole(root, text) {
  const fragment = renderMarkdown(text);
  dressCode(fragment);
  void setMath(fragment);
  root.replaceChildren(fragment);
}
