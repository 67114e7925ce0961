// Importing model files: one after the other, with rate, time left and cancel.

import { csrfToken, refusal } from "./api.js";
import { el, icon, tool } from "./dom.js";
import { bytes, duration, percent } from "./format.js";
import { _ } from "./text.js";

const WINDOW_MS = 4000;
const KINDS = /\.(gguf|safetensors)$/i;

export class Uploads {
  constructor(host, done) {
    Object.assign(this, { host, done, queue: [], running: null });
    addEventListener("beforeunload", (event) => this.running && event.preventDefault());
  }

  /** Queue files; what is no model file is refused at once. */
  add(files) {
    for (const file of files) {
      const row = this.row(file);
      this.host.append(row.node);
      if (KINDS.test(file.name)) this.queue.push({ file, ...row });
      else row.fail(_("Only .gguf and .safetensors files can be imported; other formats may carry programs."));
    }
    this.next();
  }

  row(file) {
    const text = el("span", { class: "small quiet num" }, _("Waiting"));
    const bar = el("progress", { max: "1", value: "0", "aria-label": file.name });
    const close = tool("x", _("Cancel"), () => this.cancel(node));
    const node = el("div", { class: "card upload" }, icon("upload"), el("div", { class: "grow stack tight" }, el("strong", { class: "clip" }, file.name), bar, text), close);
    const fail = (message) => {
      bar.remove();
      node.classList.add("failed");
      node.firstElementChild.replaceWith(icon("circle-alert", "bad"));
      text.textContent = message;
    };
    return { node, text, bar, fail };
  }

  cancel(node) {
    if (this.running?.node === node) this.running.request.abort();
    this.queue = this.queue.filter((item) => item.node !== node);
    node.remove();
  }

  next() {
    if (this.running || !this.queue.length) return;
    const item = (this.running = this.queue.shift());
    const form = new FormData();
    form.append("file", item.file);
    const request = (item.request = new XMLHttpRequest());
    request.open("POST", "/api/models/import");
    request.setRequestHeader("X-CSRFToken", csrfToken());
    request.setRequestHeader("Accept", "application/json");
    request.responseType = "json";
    const marks = [];
    request.upload.addEventListener("progress", (event) => showProgress(item, event, marks));
    request.addEventListener("loadend", () => this.ended(item, request));
    request.send(form);
  }

  ended(item, request) {
    this.running = null;
    if (request.status >= 200 && request.status < 300) {
      item.node.remove();
      this.done(request.response);
    } else if (request.status) {
      item.fail(refusal(request.status, request.response).message);
    } else if (item.node.isConnected) {
      item.fail(_("The connection broke before the file had arrived. Nothing was kept; import it again."));
    }
    this.next();
  }
}

// the rate over the last seconds, so that it follows the network
function showProgress(item, { loaded, total }, marks) {
  const now = performance.now();
  marks.push([now, loaded]);
  while (marks.length > 2 && now - marks[0][0] > WINDOW_MS) marks.shift();
  const [from, had] = marks[0];
  const rate = now > from ? ((loaded - had) / (now - from)) * 1000 : 0;
  item.bar.value = loaded / total;
  const left = rate ? ` · ${_("{time} left", { time: duration((total - loaded) / rate) })}` : "";
  item.text.textContent = loaded === total
    ? _("Arrived; the box is storing and hashing it")
    : `${percent(loaded / total)} · ${bytes(loaded)} / ${bytes(total)}${rate ? ` · ${bytes(rate)}/s` : ""}${left}`;
}
