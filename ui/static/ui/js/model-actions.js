// What a person does with a model of the list. What cannot be undone names what is lost, and asks.

import { post, remove } from "./api.js";
import { confirmLoss, openDialog } from "./dialog.js";
import { el } from "./dom.js";
import { tooBig } from "./fit.js";
import { bytes } from "./format.js";
import { keyOf } from "./model-states.js";
import { refreshStatus } from "./status.js";
import { _ } from "./text.js";
import { complain } from "./toast.js";

const modelPath = (model, rest = "") => `/api/models/${encodeURIComponent(model.name)}${rest}`;
const itemPath = (model, rest = "") => `/api/quarantine/${model.id}${rest}`;
const downloadPath = ({ download }, rest = "") => `/api/models/downloads/${download.id}${rest}`;

export class ModelActions {
  /** `changed` redraws the list after each step; `doing` says for a key what is being done. */
  constructor(changed, reread) {
    Object.assign(this, { changed, reread, running: new Map() });
  }

  doing(model) {
    return this.running.get(keyOf(model)) ?? null;
  }

  load = async (model) => {
    if (model.fit?.verdict === "no" && !(await confirmLoss(_("Load {name} although it is too big?", { name: model.name }), tooBig(model.fit), _("Load anyway")))) return;
    await this.during(model, _("Checking its bytes and loading"), () => post(modelPath(model, "/load")));
  };

  unload = (model) => this.during(model, _("Unloading"), () => post(modelPath(model, "/unload")));
  rescan = (model) => this.during(model, _("Starting the check"), () => post(itemPath(model, "/rescan")));
  promote = (model) => this.during(model, _("Promoting"), () => post(itemPath(model, "/promote")));
  pause = (model) => this.during(model, _("Pausing"), () => post(downloadPath(model, "/pause")));
  resume = (model) => this.during(model, _("Taking it up again"), () => post(downloadPath(model, "/resume")));

  cancel = async (model) => {
    if (await this.losesArrived(model, _("Cancel the download of {name}?", { name: model.name }), _("Cancel the download")))
      await this.during(model, _("Cancelling"), () => post(downloadPath(model, "/cancel")));
  };

  dismiss = async (model) => {
    if (await this.losesArrived(model, _("Dismiss the download of {name}?", { name: model.name }), _("Dismiss")))
      await this.during(model, _("Removing"), () => remove(downloadPath(model)));
  };

  async losesArrived({ download }, title, label) {
    if (!download.received_bytes) return true;
    const text = _("The {size} that have arrived are thrown away.", { size: bytes(download.received_bytes) });
    const answer = await openDialog(title, el("p", {}, text), [{ label: _("Keep it"), value: "" }, { label, value: "yes", tone: "danger" }]);
    return answer === "yes";
  }

  remove = async (model) => {
    const lost = model.id
      ? _("The quarantined file “{name}” ({size}) and the record of its checks are deleted. This cannot be undone.", { name: model.name, size: bytes(model.size_bytes) })
      : _("“{name}” ({size}) is deleted from this box. To use it again it must be imported and checked again. Conversations stay.", { name: model.name, size: bytes(model.size_bytes) });
    const text = model.loaded ? `${_("It is in memory now and will be unloaded; an answer being written stops.")} ${lost}` : lost;
    if (!(await confirmLoss(_("Remove {name}?", { name: model.name }), text, _("Remove")))) return;
    await this.during(model, _("Removing"), () => remove(model.id ? itemPath(model) : modelPath(model, model.loaded ? "?force=true" : "")));
  };

  async during(model, sentence, run) {
    const key = keyOf(model);
    this.running.set(key, sentence);
    this.changed();
    try {
      await run();
    } catch (error) {
      complain(error);
    } finally {
      this.running.delete(key);
      await this.reread();
      refreshStatus();
    }
  }
}
