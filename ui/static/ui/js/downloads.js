// Downloads of models: the form that asks for one, and its progress on the card.

import { post } from "./api.js";
import { el, icon, may } from "./dom.js";
import { bytes, duration, percent } from "./format.js";
import { _ } from "./text.js";
import { complain, toast } from "./toast.js";

const ENDING = /\.(gguf|safetensors|zip)$/i;
const CLOSED = "airlock.disabled";

/** How much of a download is here, at which rate, and how long it will take. */
export function downloadProgress({ status, received_bytes: here = 0, size_bytes: all, rate_bytes_per_s: rate, seconds_left: left, host, name }) {
  const share = all ? Math.min(1, here / all) : null;
  const running = status === "running" || status === "queued";
  const words = [
    status === "queued" ? _("Waiting for its turn") : null, share === null ? null : percent(share), all ? `${bytes(here)} / ${bytes(all)}` : here ? bytes(here) : null,
    running && rate ? _("{rate}/s", { rate: bytes(rate) }) : null, running && Number.isFinite(left) ? _("{time} left", { time: duration(left) }) : null,
    host ? _("from {host}", { host }) : null,
  ].filter(Boolean).join(" · ");
  const bar = el("progress", { max: "1", value: share ?? (running ? null : 0), class: running ? "" : "still", "aria-label": _("Downloading {name}", { name }) });
  return el("div", { class: "stack tight" }, bar, el("span", { class: "small quiet num" }, words));
}

/** What can be done with a download that stands so; `button` makes one. */
export function downloadButtons({ status }, actions, button) {
  if (!may("models")) return [];
  if (status === "downloading") return [button(_("Pause"), "pause", actions.pause), el("span", { class: "grow" }), button(_("Cancel"), "x", actions.cancel)];
  if (status === "paused") return [button(_("Resume"), "play", actions.resume, "primary"), el("span", { class: "grow" }), button(_("Cancel"), "x", actions.cancel)];
  return [button(_("Try again"), "rotate-ccw", actions.resume, "primary"), el("span", { class: "grow" }), button(_("Dismiss"), "trash-2", actions.dismiss)];
}

/** A name for the model that an address leads to, as the box takes names. */
export function nameFrom(address) {
  let path = "";
  try {
    path = decodeURIComponent(new URL(address).pathname);
  } catch {
    return "";
  }
  const last = path.split("/").filter(Boolean).at(-1) ?? "";
  return last.replace(ENDING, "").replace(/-\d{5}-of-\d{5}$/, "").replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, 128);
}

/** Wire the form; `asked` is called when the box has taken the download on. */
export function wireDownloadForm(form, asked) {
  const { url, name, sha256 } = form.elements;
  const said = form.querySelector("[data-said]");
  const send = form.querySelector("button");
  let suggested = "";
  url.addEventListener("input", () => {
    if (name.value === suggested) name.value = suggested = nameFrom(url.value);
  });
  const run = async () => {
    const digest = sha256.value.trim().toLowerCase();
    await post("/api/models/download", { url: url.value.trim(), name: name.value.trim(), ...(digest ? { sha256: digest } : {}) });
    toast(_("The download of “{name}” has begun.", { name: name.value.trim() }));
    form.reset();
    suggested = "";
    asked();
  };
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    said.replaceChildren();
    await run().catch((error) => refused(said, error));
    send.disabled = false;
  });
}

function refused(said, error) {
  if (error.status === 401) return complain(error);
  const closed = error.code === CLOSED;
  const doors = document.querySelector('.rail a[href="/doors"]');
  const next = !closed ? null : doors
    ? el("p", {}, el("a", { href: "/doors" }, _("Open it on the Doors page")), _(", or fetch the file on another computer and drop it here."))
    : el("p", {}, _("An operator of this box opens it. Until then, fetch the file on another computer and drop it here."));
  said.replaceChildren(el("div", { class: `notice ${closed ? "warn" : "bad"}` }, icon(closed ? "door-closed" : "circle-alert"),
    el("div", { class: "grow stack tight" }, closed ? el("strong", {}, _("The network door is closed, so nothing can be fetched.")) : null, el("span", {}, error.message), next)));
}
