// Choosing the model of a conversation, with its state: in memory, on disk, too big.

import { get } from "./api.js";
import { bytes, parameters } from "./format.js";
import { openMenu } from "./menu.js";
import { _ } from "./text.js";
import { complain } from "./toast.js";

export class ModelPicker {
  constructor(button, changed) {
    Object.assign(this, { button, changed, models: null, chosen: null, inMemory: null });
    this.name = button.querySelector("[data-picker-name]");
    button.addEventListener("click", () => void this.open());
    document.addEventListener("box:status", ({ detail }) => this.engine(detail?.engine?.model ?? null));
  }

  /** Models that may run. */
  get usable() {
    return (this.models ?? []).filter(({ status, purpose }) => status === "promoted" && purpose === "chat");
  }

  /** Whether it is known that there is no model at all. */
  get none() {
    return this.models !== null && this.usable.length === 0;
  }

  /** The model to name when sending; null leaves the choice to the box. */
  get model() {
    return this.usable.some(({ name }) => name === this.chosen) ? this.chosen : null;
  }

  async load() {
    try {
      this.models = await get("/api/models");
    } catch {
      this.models ??= null; // unknown is not "none"
    }
    this.show();
    this.changed();
  }

  /** Turn to the model of a conversation. */
  set(name) {
    this.chosen = name ?? last();
    this.show();
  }

  engine(name) {
    if (name === this.inMemory) return;
    this.inMemory = name;
    void this.load();
  }

  show() {
    const shown = this.model ?? this.inMemory ?? this.usable[0]?.name;
    this.name.textContent = shown ?? (this.none ? _("No model") : _("Model"));
    this.button.setAttribute("aria-label", _("Model: {name}", { name: this.name.textContent }));
  }

  async open() {
    await this.load().catch(complain);
    const shown = this.model ?? this.inMemory ?? this.usable[0]?.name;
    const items = this.usable.map((model) => ({
      label: model.name, detail: describe(model), checked: model.name === shown, run: () => this.choose(model.name),
    }));
    openMenu(this.button, [...items, ...(items.length ? [null] : []), { icon: "box", label: _("All models"), href: "/models" }], { label: _("Model") });
  }

  choose(name) {
    this.chosen = name;
    try {
      localStorage.setItem("model", name);
    } catch {
      // no storage: chosen for this page
    }
    this.show();
  }
}

function last() {
  try {
    return localStorage.getItem("model");
  } catch {
    return null;
  }
}

function describe(model) {
  const state = model.loaded ? _("in memory") : model.fit?.verdict === "no"
    ? _("too big: needs {n}, {f} free", { n: bytes(model.fit.needed_bytes), f: bytes(model.fit.free_bytes) })
    : _("on disk");
  return [state, parameters(model.parameters), model.quantization].filter(Boolean).join(" · ");
}
