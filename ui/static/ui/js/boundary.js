// Where a growing Markdown text can be cut: finds the ends of finished blocks, reading every character once.

const FENCE = /^ {0,3}(`{3,}|~{3,})(.*)$/;
const ANY_FENCE = /^\s*(?:(?:[-*+]|\d{1,9}[.)])\s+)*(`{3,}|~{3,})/;
const LIST = /^ {0,3}(?:[-*+]|\d{1,9}[.)])(?:\s|$)/;
const MATH = /^(\$\$|\\\[)/;
const DEFINITION = /^ {0,3}\[[^\]]+\]:/;

/** Reads whole lines; `cuts` collects offsets (into all text read so far) at which a new block starts. */
export class BoundaryScanner {
  constructor() {
    this.offset = 0; // of the line to read next
    this.blockStart = 0;
    this.kind = null; // null, "text", "list", "fence", "math"
    this.close = null; // what ends the fence or the math
    this.blank = false; // the line before was blank
    this.definitions = false; // a link was defined: earlier blocks may refer to it
  }

  /** Read the next whole line (without its newline); returns the offset of a cut before or after it, or null. */
  line(text) {
    const start = this.offset;
    this.offset += text.length + 1;
    if (this.close) return this.insideClosed(text);
    if (text.trim() === "") return (this.blank = true), null;
    const cut = this.startsBlock(text) ? this.begin(start) : null;
    this.blank = false;
    if (DEFINITION.test(text)) this.definitions = true;
    this.open(text);
    return cut;
  }

  startsBlock(text) {
    if (this.kind === null) return false;
    const indented = /^\s/.test(text);
    if (indented) return false;
    if (FENCE.test(text) || MATH.test(text)) return true;
    if (!this.blank) return false;
    return !(this.kind === "list" && LIST.test(text));
  }

  begin(start) {
    this.blockStart = start;
    this.kind = null;
    return start;
  }

  open(text) {
    const fence = FENCE.exec(text);
    const valid = fence && !(fence[1][0] === "`" && fence[2].includes("`"));
    if (this.kind === null) this.kind = valid ? "fence" : MATH.test(text) ? "math" : LIST.test(text) ? "list" : "text";
    else if (this.kind === "text" && LIST.test(text)) this.kind = "list"; // a list may follow a line of text directly
    if (this.kind === "fence") this.close = new RegExp(`^ {0,3}\\${fence[1][0]}{${fence[1].length},}\\s*$`);
    else if (this.kind === "math") this.openMath(text);
    else if (this.kind === "list") this.openInList(text);
  }

  openMath(text) {
    if (/^(\$\$.*\S.*\$\$|\\\[.*\\\])\s*$/.test(text)) this.kind = null; // closed on its own line
    else this.close = /(\$\$|\\\])\s*$/;
  }

  openInList(text) {
    const inner = ANY_FENCE.exec(text);
    if (inner) this.close = new RegExp(`^\\s*\\${inner[1][0]}{${inner[1].length},}\\s*$`);
  }

  insideClosed(text) {
    if (!this.close.test(text)) return null;
    this.close = null;
    this.blank = false;
    if (this.kind === "list") return null;
    this.kind = null;
    this.blockStart = this.offset;
    return this.offset;
  }
}
