// Reading an answer aloud as it arrives: whole sentences only, so that nothing is said twice.

const SENTENCE = /[^.!?…\n]*(?:[.!?…]+(?=\s)|\n)/g;
const KEPT = 4;
const region = document.querySelector("[data-announce]");

export class Announcer {
  constructor() {
    this.rest = "";
    this.inCode = false;
  }

  push(text) {
    this.rest += text;
    let read = 0;
    for (const match of this.rest.matchAll(SENTENCE)) {
      this.say(match[0]);
      read = match.index + match[0].length;
    }
    this.rest = this.rest.slice(read);
  }

  finish() {
    this.say(this.rest);
    this.rest = "";
  }

  say(sentence) {
    if (/^\s*(```|~~~)/.test(sentence)) this.inCode = !this.inCode;
    const words = sentence.replace(/[`*_#>|]+/g, " ").trim();
    if (words && !this.inCode) announce(words);
  }
}

/** Say one thing to screen readers. */
export function announce(text) {
  if (!region) return;
  const line = document.createElement("p");
  line.textContent = text;
  region.append(line);
  while (region.childElementCount > KEPT) region.firstElementChild.remove();
}
