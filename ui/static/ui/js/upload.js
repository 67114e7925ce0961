// Importing models: one after the other, with rate, time left, cancel and another try.

import { csrfToken, refusal } from "./api.js";
import { ask, confirmLoss } from "./dialog.js";
import { el, icon, tool } from "./dom.js";
import { fitOfSize, fitWords, tooBig } from "./fit.js";
import { bytes, duration, percent } from "./format.js";
import { _, ngettext } from "./text.js";

const WINDOW_MS = 4000;
const TAKEN = new Set(["model.name_taken", "model.name"]); // another name helps
const RUNS = /\.gguf$/i; // of these the engine here is asked whether they fit

export class Uploads {
  /** `done` gets the box's answer for each model that has arrived. */
  constructor(host, done) {
    Object.assign(this, { host, done, queue: [], running: null });
    addEventListener("beforeunload", (event) => this.running && event.preventDefault());
  }

  /** Queue imports as `importsOf` gives them; `options` are {name, sha256}, for a single one. */
  add(imports, options = {}) {
    for (const one of imports) {
      const item = { ...one, options, size: one.files.reduce((sum, { file }) => sum + file.size, 0) };
      this.host.append(row(item, { cancel: () => this.cancel(item), retry: () => this.retry(item) }));
      if (item.problem) item.fail(item.problem, { retry: false });
      else this.queue.push(item);
    }
    this.host.lastElementChild?.scrollIntoView({ block: "nearest" });
    void this.next();
  }

  cancel(item) {
    this.queue = this.queue.filter((other) => other !== item);
    item.cancelled = true;
    item.request?.abort();
    item.node.remove();
  }

  async retry(item) {
    if (item.refused?.code && TAKEN.has(item.refused.code)) {
      const name = await ask(_("Another name"), _("Name"), item.options.name ?? "", { help: item.refused.message, save: _("Import") });
      if (!name) return;
      item.options = { ...item.options, name };
    }
    item.wait();
    this.queue.push(item);
    void this.next();
  }

  async next() {
    if (this.running || !this.queue.length) return;
    const item = (this.running = this.queue.shift());
    if (await this.mayGo(item)) return this.send(item);
    this.running = null;
    void this.next();
  }

  // told before a byte is sent; only what is sure to be too big asks
  async mayGo(item) {
    if (!RUNS.test(item.files[0].path)) return true;
    const fit = await fitOfSize(item.size);
    item.showFit(fit);
    if (fit?.verdict !== "no" || item.agreed || item.cancelled) return !item.cancelled;
    item.agreed = await confirmLoss(_("Import {name} although it is too big?", { name: item.title }), tooBig(fit), _("Import anyway"));
    if (!item.agreed) this.cancel(item);
    return item.agreed && !item.cancelled;
  }

  send(item) {
    const request = (item.request = new XMLHttpRequest());
    request.open("POST", "/api/models/import");
    request.setRequestHeader("X-CSRFToken", csrfToken());
    request.setRequestHeader("Accept", "application/json");
    request.responseType = "json";
    const marks = [];
    request.upload.addEventListener("progress", (event) => showProgress(item, event, marks));
    request.addEventListener("loadend", () => this.ended(item, request));
    request.send(formOf(item));
  }

  ended(item, request) {
    this.running = null;
    item.request = null;
    if (request.status >= 200 && request.status < 300) {
      item.node.remove();
      this.done(request.response);
    } else if (request.status) {
      item.refused = refusal(request.status, request.response);
      item.fail(item.refused.message);
    } else if (!item.cancelled) {
      item.fail(_("The connection broke before all of it had arrived. Nothing was kept."));
    }
    void this.next();
  }
}

// fields first: the box reads the body as it comes
function formOf({ files, signature, options }) {
  const form = new FormData();
  for (const key of ["name", "sha256"]) if (options[key]) form.append(key, options[key]);
  if (signature) form.append("signature", signature, signature.name);
  for (const { file, path } of files) form.append("file", file, path);
  return form;
}

function row(item, { cancel, retry }) {
  const title = el("strong", { class: "clip" }, item.title);
  const text = el("span", { class: "small quiet num" });
  const fit = el("span", { class: "small num" });
  const bar = el("progress", { max: "1", value: "0", "aria-label": _("Sending {name}", { name: item.title }) });
  const again = el("button", { type: "button", class: "button small", hidden: true, on: { click: retry } }, icon("rotate-ccw"), _("Try again"));
  const state = el("span", { class: "state" }, icon("upload"));
  item.node = el("div", { class: "card upload" }, state,
    el("div", { class: "grow stack tight" }, el("div", { class: "row" }, title, el("span", { class: "small quiet num nowrap" }, whatIsSent(item))), bar, text, fit), again, tool("x", _("Cancel"), cancel));
  item.say = (words, share) => ((text.textContent = words), (bar.value = share));
  item.showFit = (found) => fit.replaceChildren(...[fitWords(found)].filter(Boolean));
  item.wait = () => show(item, { bar, again, state, failed: false }, _("Waiting"));
  item.fail = (message, { retry: can = true } = {}) => (show(item, { bar, again, state, failed: true }, message), (again.hidden = !can));
  item.wait();
  return item.node;
}

function show(item, { bar, again, state, failed }, words) {
  bar.hidden = failed;
  again.hidden = true;
  item.node.classList.toggle("failed", failed);
  state.replaceChildren(failed ? icon("circle-alert", "bad") : icon("upload"));
  item.say(words, 0);
}

function whatIsSent({ files, signature, size }) {
  const parts = [files.length > 1 ? ngettext("{n} file", "{n} files", files.length) : null, bytes(size), signature ? _("with its signature") : null];
  return parts.filter(Boolean).join(" · ");
}

// the rate over the last seconds, so that it follows the network
function showProgress(item, { loaded, total }, marks) {
  const now = performance.now();
  marks.push([now, loaded]);
  while (marks.length > 2 && now - marks[0][0] > WINDOW_MS) marks.shift();
  const [from, had] = marks[0];
  const rate = now > from ? ((loaded - had) / (now - from)) * 1000 : 0;
  const left = rate ? ` · ${_("{time} left", { time: duration((total - loaded) / rate) })}` : "";
  const words = loaded === total
    ? _("Arrived; the box is storing and hashing it")
    : `${percent(loaded / total)} · ${bytes(loaded)} / ${bytes(total)}${rate ? ` · ${_("{rate}/s", { rate: bytes(rate) })}` : ""}${left}`;
  item.say(words, loaded / total);
}
