// The models page: cards that follow the box live, import by drop, load, unload, remove.

import { get, post, remove } from "./api.js";
import { confirmLoss } from "./dialog.js";
import { el, empty, failure, may } from "./dom.js";
import { bytes } from "./format.js";
import { keyOf, modelCard } from "./model-card.js";
import { shortcut } from "./shortcuts.js";
import { Socket } from "./socket.js";
import { refreshStatus } from "./status.js";
import { _ } from "./text.js";
import { complain, toast } from "./toast.js";
import { Uploads } from "./upload.js";

class ModelsPage {
  constructor(root) {
    Object.assign(this, { root, list: root.querySelector("[data-model-list]"), models: [], told: new Map(), busy: new Map() });
    this.uploads = new Uploads(root.querySelector("[data-uploads]"), (item) => this.arrived(item));
    this.wireImport(root.querySelector("[data-file]"), document.querySelector("[data-dropzone]"));
    const verify = root.querySelector("[data-verify]");
    verify.addEventListener("click", () => this.verify(verify));
    this.socket = new Socket(() => "/ws/models", {
      message: (frame) => frame.type === "models" && this.show(frame.models),
      state: (state) => state === "signed-out" && document.dispatchEvent(new CustomEvent("box:signed-out")),
    });
    void this.read();
  }

  async read() {
    try {
      this.show(await get("/api/models"));
    } catch (error) {
      if (!this.models.length) this.list.replaceChildren(failure(error, () => this.read()));
      this.list.removeAttribute("aria-busy");
    }
  }

  /** Show the list; a card is rebuilt only when its model changed, and what was unfolded stays so. */
  show(models) {
    this.announceChanges(models);
    this.models = models;
    this.list.removeAttribute("aria-busy");
    if (!models.length) return this.showEmpty();
    if (!this.cards?.isConnected) this.list.replaceChildren((this.cards = el("div", { class: "cards" })));
    const old = new Map([...this.cards.children].map((card) => [card.dataset.key, card]));
    const wanted = models.map((model) => this.card(model, old.get(keyOf(model))));
    for (const card of this.cards.children) if (!wanted.includes(card)) card.remove();
    wanted.forEach((card, at) => this.cards.children[at] === card || this.cards.insertBefore(card, this.cards.children[at] ?? null));
  }

  card(model, old) {
    const key = keyOf(model);
    const busy = this.busy.get(key) ?? null;
    const state = JSON.stringify([model, busy]);
    if (old && this.told.get(key) === state) return old;
    this.told.set(key, state);
    const card = modelCard(model, this, busy);
    if (old) {
      keepFolds(old, card);
      const focused = [...old.querySelectorAll("button, summary, a")].indexOf(document.activeElement);
      old.replaceWith(card);
      if (focused >= 0) (card.querySelectorAll("button, summary, a")[focused] ?? card).focus?.();
    }
    return card;
  }

  showEmpty() {
    const text = may("models") ? _("Drop a .gguf file on this page. It is checked first, and then it can answer.") : _("Ask the operator of this box to import one.");
    this.list.replaceChildren(empty("box", _("No models yet"), text));
  }

  announceChanges(models) {
    const before = new Map(this.models.map((model) => [model.name, model.status]));
    for (const { name, status } of models) {
      if (!before.has(name) || before.get(name) === status) continue;
      if (status === "promoted") toast(_("“{name}” passed its checks and may run.", { name }));
      if (status === "refused") toast(_("“{name}” was refused; its card says why.", { name }), { tone: "bad" });
      if (status === "held") toast(_("“{name}” passed its checks and waits for you.", { name }));
    }
  }

  // --- what a person does --------------------------------------------------------------------------

  load = async (model) => {
    const { verdict, needed_bytes: needed, free_bytes: free } = model.fit ?? {};
    const text = _("It needs about {n}, and {f} are free. Loading it may fail or make everything on this machine slow.", { n: bytes(needed), f: bytes(free) });
    if (verdict === "no" && !(await confirmLoss(_("Load {name} although it is too big?", { name: model.name }), text, _("Load anyway")))) return;
    await this.during(model, _("Checking its bytes and loading"), () => post(`/api/models/${encodeURIComponent(model.name)}/load`));
  };

  unload = (model) => this.during(model, _("Unloading"), () => post(`/api/models/${encodeURIComponent(model.name)}/unload`));
  rescan = (model) => this.during(model, _("Starting the check"), () => post(`/api/quarantine/${model.id}/rescan`));
  promote = (model) => this.during(model, _("Promoting"), () => post(`/api/quarantine/${model.id}/promote`));

  remove = async (model) => {
    const lost = model.id
      ? _("The quarantined file “{name}” ({size}) and the record of its checks are deleted. This cannot be undone.", { name: model.name, size: bytes(model.size_bytes) })
      : _("“{name}” ({size}) is deleted from this box. To use it again it must be imported and checked again. Conversations stay.", { name: model.name, size: bytes(model.size_bytes) });
    const title = _("Remove {name}?", { name: model.name });
    if (!(await confirmLoss(title, model.loaded ? `${_("It is in memory now and will be unloaded; an answer being written stops.")} ${lost}` : lost, _("Remove")))) return;
    const path = model.id ? `/api/quarantine/${model.id}` : `/api/models/${encodeURIComponent(model.name)}${model.loaded ? "?force=true" : ""}`;
    await this.during(model, _("Removing"), () => remove(path));
  };

  async during(model, sentence, run) {
    const key = keyOf(model);
    this.busy.set(key, sentence);
    this.show(this.models);
    try {
      await run();
    } catch (error) {
      complain(error);
    } finally {
      this.busy.delete(key);
      await this.read();
      refreshStatus();
    }
  }

  async verify(button) {
    button.disabled = true;
    const close = toast(_("Reading every model byte by byte; this can take a while."));
    try {
      const answer = await post("/api/models/verify-manifest");
      toast(verifySentence(answer), { tone: answer.ok === false ? "bad" : "" });
    } catch (error) {
      complain(error);
    } finally {
      close();
      button.disabled = false;
      void this.read();
    }
  }

  arrived({ name }) {
    toast(_("“{name}” arrived and goes through its checks now.", { name }));
    void this.read();
  }

  wireImport(input, zone) {
    if (!may("models")) return;
    input.addEventListener("change", () => (this.uploads.add(input.files), (input.value = "")));
    shortcut(["I"], _("Import a model"), (event, inField) => event.key === "i" && !inField && !event.ctrlKey && !event.metaKey, () => input.click());
    let depth = 0;
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    const over = (step) => (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      depth = Math.max(0, depth + step);
      zone.hidden = depth === 0;
    };
    document.addEventListener("dragenter", over(1));
    document.addEventListener("dragover", over(0));
    document.addEventListener("dragleave", over(-1));
    document.addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      depth = 0;
      zone.hidden = true;
      this.uploads.add(event.dataTransfer.files);
    });
  }
}

function verifySentence(answer) {
  if (answer.error) return answer.error;
  const failed = answer.failed ?? answer.changed ?? [];
  if (answer.ok === false || failed.length) return _("Not every model is what it was when promoted; the cards show which.");
  return _("Every model is what it was when it was promoted.");
}

function keepFolds(from, to) {
  for (const fold of to.querySelectorAll("details[data-keep]")) {
    const before = from.querySelector(`details[data-keep="${fold.dataset.keep}"]`);
    if (before && from.dataset.status === to.dataset.status) fold.open = before.open;
  }
}

new ModelsPage(document.querySelector("[data-models]"));
