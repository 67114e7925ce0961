// The models page: groups of cards that follow the box live.

import { get } from "./api.js";
import { AddModel } from "./add-model.js";
import { el, empty, failure, icon, may } from "./dom.js";
import { Filters } from "./filters.js";
import { ModelActions } from "./model-actions.js";
import { anchorOf, modelCard, steady, updateLive } from "./model-card.js";
import { groupOf, isQueued, keyOf, placesOf } from "./model-states.js";
import { shortcut } from "./shortcuts.js";
import { Socket } from "./socket.js";
import { _, ngettext } from "./text.js";
import { toast } from "./toast.js";
import { verify } from "./verify.js";

const GROUPS = [["way", _("On the way in")], ["ready", _("Ready")], ["refused", _("Refused or out of use")]];
const FOCUSABLE = "button, summary, a, [tabindex='0']";

class ModelsPage {
  constructor(root) {
    const list = root.querySelector("[data-model-list]");
    Object.assign(this, { root, list, models: null, drawn: new Map(), broken: root.querySelector("[data-broken]") });
    this.actions = new ModelActions(() => this.draw(), () => this.read());
    this.filters = new Filters(root.querySelector("[data-filters]"), () => this.draw());
    this.adding = new AddModel(root, { arrived: (item) => this.arrived(item), asked: () => this.read() });
    this.wire(root.querySelector("[data-verify]"));
    this.socket = new Socket(() => "/ws/models", {
      message: (frame) => frame.type === "models" && this.show(frame.models),
      state: (state) => state === "signed-out" && document.dispatchEvent(new CustomEvent("box:signed-out")),
    });
    void this.read();
  }

  wire(button) {
    button.addEventListener("click", async () => {
      button.disabled = true;
      await verify(this.root.querySelector("[data-verified]"));
      button.disabled = false;
      void this.read();
    });
    shortcut(["/"], _("Search the models"), (event, inField) => event.key === "/" && !inField && !this.filters.host.hidden, () => this.filters.focus());
    addEventListener("focus", () => void this.read()); // what fits depends on what is free now
    setInterval(() => this.tick(), 1000);
    addEventListener("hashchange", () => this.reveal());
  }

  async read() {
    try {
      this.show(await get("/api/models"));
    } catch (error) {
      if (this.models === null) this.list.replaceChildren(failure(error, () => this.read()));
      this.list.removeAttribute("aria-busy");
    }
  }

  /** Take in a new list from the box. */
  show(models) {
    const first = this.models === null;
    if (!first) this.tellChanges(models);
    this.models = models;
    this.list.removeAttribute("aria-busy");
    this.draw();
    if (first) this.reveal();
  }

  // --- drawing -----------------------------------------------------------------------------------------

  draw() {
    if (this.models === null) return;
    this.drawBroken();
    const shown = this.filters.apply(this.models);
    if (!shown.length) return this.drawNothing();
    if (!this.grid?.isConnected) this.list.replaceChildren((this.grid = el("div", { class: "cards" })));
    const old = new Map([...this.grid.children].map((node) => [node.dataset.key, node]));
    const places = placesOf(this.models);
    const wanted = GROUPS.flatMap(([name, title]) => {
      const mine = shown.filter((model) => groupOf(model) === name);
      return mine.length ? [heading(name, title, mine.length, old), ...mine.map((model) => this.card(model, old, places))] : [];
    });
    arrange(this.grid, wanted);
  }

  /** The card of a model: the one that stands there, as long as nothing about it changed but its progress. */
  card(model, cards, places) {
    const key = keyOf(model);
    const old = cards.get(key);
    const doing = this.actions.doing(model);
    const place = places.get(key);
    const state = steady(model) + doing;
    if (old && this.drawn.get(key) === state) return updateLive(old, model, place), old;
    this.drawn.set(key, state);
    const card = modelCard(model, this.actions, { doing, place });
    if (old) takeOver(old, card);
    return card;
  }

  drawNothing() {
    this.grid = null;
    if (this.filters.active) {
      const reset = el("button", { type: "button", class: "button", on: { click: () => this.filters.reset() } }, _("Show all models"));
      return this.list.replaceChildren(empty("search", _("Nothing matches"), _("No model has this name and state."), reset));
    }
    const text = may("models") ? _("Drop a .gguf file on this page, or add one from an address. It is checked first, and then it can answer.") : _("Ask the operator of this box to import one.");
    const add = may("models") ? el("button", { type: "button", class: "button primary", on: { click: () => this.adding.open(true) } }, icon("plus"), _("Add a model")) : null;
    this.list.replaceChildren(empty("box", _("No models yet"), text, ...(add ? [add] : [])));
  }

  /** What changed after its promotion is said at the top of the page, as long as it is there. */
  drawBroken() {
    const broken = this.models.filter(({ status }) => status === "failed");
    const names = broken.map(({ name }) => name).join("\n");
    if (this.broken.dataset.names === names) return;
    this.broken.dataset.names = names;
    this.broken.replaceChildren(...(broken.length ? [brokenNotice(broken)] : []));
  }

  tick() {
    if (document.hidden || !this.models?.some(isQueued) || !this.grid) return;
    const places = placesOf(this.models);
    for (const model of this.models.filter(isQueued)) {
      const card = this.grid.querySelector(`[data-key="${CSS.escape(keyOf(model))}"]`);
      if (card) updateLive(card, model, places.get(keyOf(model)));
    }
  }

  // --- telling -----------------------------------------------------------------------------------------

  tellChanges(models) {
    const before = new Map(this.models.map((model) => [keyOf(model), model.status]));
    for (const model of models) {
      if (before.get(keyOf(model)) === model.status) continue;
      const words = NEWS[model.status]?.(model.name);
      const tone = groupOf(model) === "refused" ? "bad" : "";
      if (words) toast(words, { tone, action: { label: _("Show"), run: () => this.reveal(anchorOf(model)) } });
    }
  }

  arrived({ name }) {
    toast(_("“{name}” arrived and goes through its checks now.", { name }));
    void this.read();
  }

  /** Scroll to a card and open its checks; by default to the one that the address names. */
  reveal(anchor = location.hash.slice(1)) {
    const card = document.getElementById(anchor);
    if (!card?.matches(".model")) return;
    for (const checks of card.querySelectorAll("details.checks")) checks.open = true;
    card.scrollIntoView({ block: "start" });
    card.focus({ preventScroll: true });
  }
}

const NEWS = {
  promoted: (name) => _("“{name}” passed its checks and may run.", { name }),
  refused: (name) => _("“{name}” was refused; its card says why.", { name }),
  held: (name) => _("“{name}” passed its checks and waits for you.", { name }),
  failed: (name) => _("“{name}” changed after it was promoted and was taken out of use.", { name }),
  download_failed: (name) => _("The download of “{name}” failed; its card says why.", { name }),
};

function heading(name, title, count, old) {
  const key = `g:${name}`;
  const node = old.get(key) ?? el("h2", { class: "group", data: { key } }, el("span", {}, title), el("span", { class: "badge num" }));
  node.lastElementChild.textContent = String(count);
  return node;
}

// nodes that stay where they are are not touched, so that nothing that is read or pressed jumps
function arrange(grid, wanted) {
  const focused = document.activeElement;
  const keep = new Set(wanted);
  for (const node of [...grid.children]) if (!keep.has(node)) node.remove();
  wanted.forEach((node, at) => grid.children[at] === node || grid.insertBefore(node, grid.children[at] ?? null));
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
}

/** Put a new card in the place of the old one: what was unfolded stays so, and the focus stays where it was. */
function takeOver(old, card) {
  for (const fold of card.querySelectorAll("details[data-keep]")) {
    const before = old.querySelector(`details[data-keep="${CSS.escape(fold.dataset.keep)}"]`);
    if (before && !(fold.open && !before.open && old.dataset.status !== card.dataset.status)) fold.open = before.open;
  }
  const focused = [...old.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
  const self = old === document.activeElement;
  old.replaceWith(card);
  if (self) card.focus({ preventScroll: true });
  else if (focused >= 0) ([...card.querySelectorAll(FOCUSABLE)][focused] ?? card).focus({ preventScroll: true });
}

function brokenNotice(broken) {
  const links = broken.flatMap((model, at) => [at ? ", " : "", el("a", { href: `#${anchorOf(model)}` }, model.name)]);
  return el("div", { class: "notice bad broken", role: "alert" }, icon("shield-x"), el("div", { class: "grow stack tight" },
    el("strong", {}, ngettext("A model's file changed after it was promoted.", "The files of {n} models changed after they were promoted.", broken.length)),
    el("p", {}, _("It is out of use and its file is back in quarantine, so nothing wrong can run: "), links, "."),
    el("p", {}, el("span", { class: "todo-word" }, _("What to do: ")), _("remove it and import it again from a source you trust; then find out who or what could write to this disk."))));
}

new ModelsPage(document.querySelector("[data-models]"));
