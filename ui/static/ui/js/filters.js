// Finding a model in a long list: by its state and by its name, kept in the address.

import { el } from "./dom.js";
import { number } from "./format.js";
import { groupOf } from "./model-states.js";
import { _ } from "./text.js";

const FEW = 8; // fewer rows than this are seen at a glance
const SHOWS = [["all", _("All")], ["ready", _("Ready")], ["way", _("In quarantine")], ["refused", _("Refused")]];

export class Filters {
  /** `changed` is called after each choice. */
  constructor(host, changed) {
    const asked = new URLSearchParams(location.search);
    Object.assign(this, { host, changed, show: SHOWS.some(([name]) => name === asked.get("show")) ? asked.get("show") : "all", words: asked.get("q") ?? "" });
    this.search = host.querySelector("input");
    this.search.value = this.words;
    this.chips = new Map(SHOWS.map(([name, word]) => [name, this.chip(name, word)]));
    host.querySelector("[data-shows]").append(...this.chips.values());
    this.search.addEventListener("input", () => this.choose({ words: this.search.value }));
  }

  get active() {
    return this.show !== "all" || this.words.trim() !== "";
  }

  /** The models to be shown, with the counts written on the choices. */
  apply(models) {
    this.host.hidden = models.length <= FEW && !this.active;
    const words = this.words.trim().toLowerCase();
    const named = models.filter(({ name }) => name.toLowerCase().includes(words));
    for (const [name, chip] of this.chips) {
      chip.setAttribute("aria-pressed", String(name === this.show));
      chip.querySelector(".num").textContent = number(named.filter((model) => name === "all" || groupOf(model) === name).length);
    }
    return named.filter((model) => this.show === "all" || groupOf(model) === this.show);
  }

  /** Show everything again. */
  reset() {
    this.search.value = "";
    this.choose({ show: "all", words: "" });
  }

  focus() {
    if (!this.host.hidden) this.search.select();
  }

  choose(choice) {
    Object.assign(this, choice);
    const asked = new URLSearchParams({ ...(this.show === "all" ? {} : { show: this.show }), ...(this.words.trim() ? { q: this.words.trim() } : {}) });
    history.replaceState(null, "", `${location.pathname}${asked.size ? `?${asked}` : ""}${location.hash}`);
    this.changed();
  }

  chip(name, word) {
    return el("button", { type: "button", class: "chip", "aria-pressed": "false", on: { click: () => this.choose({ show: name }) } }, word, " ", el("span", { class: "num" }));
  }
}
