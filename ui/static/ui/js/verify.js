// Reading every promoted model again, byte by byte, with progress while it runs.

import { get, post } from "./api.js";
import { el, icon, tool } from "./dom.js";
import { visible } from "./facts.js";
import { percent } from "./format.js";
import { _, ngettext } from "./text.js";

const EVERY_MS = 500;
const LOST_MOST = 10; // looks that may fail in a row before it is given up
const NO_JOBS = new Set([400, 404, 405]);
const NAMED = 5;

const pause = () => new Promise((done) => setTimeout(done, EVERY_MS));

/** Start it and show it in `host`; resolves when it has ended, whatever came of it. */
export async function verify(host) {
  const words = el("span", { class: "small quiet num" }, _("Starting"));
  const bar = el("progress", { max: "1", "aria-label": _("Verifying the models") });
  const row = el("div", { class: "card upload" }, icon("loader-circle", "spin"), el("div", { class: "grow stack tight" }, el("strong", {}, _("Reading every model byte by byte")), bar, words));
  host.replaceChildren(row);
  try {
    host.replaceChildren(outcome(await report((job) => showProgress(bar, words, job)), () => host.replaceChildren()));
  } catch (error) {
    host.replaceChildren(result("bad", "circle-alert", error.message, null, () => host.replaceChildren()));
  }
}

// a box without jobs for it answers when all is read
async function report(tell) {
  const started = await post("/api/models/verify-manifest?async=true").catch((error) => {
    if (!NO_JOBS.has(error.status)) throw error;
    return post("/api/models/verify-manifest");
  });
  return started.job ? followed(started.job, tell) : started;
}

async function followed(id, tell) {
  for (let lost = 0; ; await pause()) {
    const job = await get(`/api/models/jobs/${encodeURIComponent(id)}`).catch((error) => {
      if (error.status || ++lost > LOST_MOST) throw error;
      return null;
    });
    if (!job) continue;
    lost = 0;
    if (job.state === "succeeded") return job.result;
    if (job.state === "failed" || job.state === "cancelled") throw new Error(job.error || _("The models could not be verified. Try again."));
    tell(job);
  }
}

function showProgress(bar, words, { progress, stage, state }) {
  if (Number.isFinite(progress)) bar.value = progress;
  const share = Number.isFinite(progress) ? percent(progress) : null;
  words.textContent = [state === "queued" ? _("Waiting for its turn") : null, share, stage ? visible(stage) : null].filter(Boolean).join(" · ");
}

function outcome({ ok, models = [], checked = models.length }, close) {
  const bad = models.filter(({ status }) => status !== "verified");
  if (ok && !checked) return result("", "info", _("There is no model to verify."), null, close);
  if (ok) return result("ok", "shield-check", ngettext("{n} model was read to its last byte and is what it was when it was promoted.", "{n} models were read to their last bytes and are what they were when they were promoted.", checked), null, close);
  const lines = el("ul", { class: "notes" }, bad.map((one) => el("li", {}, el("strong", {}, visible(one.name)), ": ", found(one))));
  return result("bad", "shield-x", ngettext("{n} model is not what it was when it was promoted, and was taken out of use.", "{n} models are not what they were when they were promoted, and were taken out of use.", bad.length), lines, close);
}

function found({ status, tensors }) {
  if (status === "missing") return _("its file is gone");
  const changed = tensors?.changed ?? [];
  if (!changed.length) return _("its bytes changed");
  const named = changed.slice(0, NAMED).map(visible).join(", ");
  return ngettext("{n} tensor changed: {list}", "{n} tensors changed: {list}", tensors.failed ?? changed.length, { list: changed.length > NAMED ? `${named}, …` : named });
}

function result(tone, name, text, more, close) {
  return el("div", { class: `notice ${tone}`, role: tone === "bad" ? "alert" : null }, icon(name), el("div", { class: "grow stack tight" }, el("span", {}, text), more), tool("x", _("Close"), close));
}
