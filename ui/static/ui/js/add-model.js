// The ways in: choosing files or a folder, dropping them anywhere on the page, fetching from an address.

import { may } from "./dom.js";
import { wireDownloadForm } from "./downloads.js";
import { entriesOf, filesBelow, filesOf } from "./folders.js";
import { importsOf } from "./imports.js";
import { shortcut } from "./shortcuts.js";
import { _, ngettext } from "./text.js";
import { complain, toast } from "./toast.js";
import { Uploads } from "./upload.js";

export class AddModel {
  /** `arrived` gets the box's answer for each imported model, `asked` is called when a download was taken on. */
  constructor(root, { arrived, asked }) {
    Object.assign(this, { root, panel: root.querySelector("[data-panel]"), toggle: root.querySelector("[data-add]"), form: root.querySelector("[data-import]") });
    this.uploads = new Uploads(root.querySelector("[data-uploads]"), arrived);
    if (!may("models")) return;
    this.toggle.addEventListener("click", () => this.open(this.panel.hidden));
    wireDownloadForm(root.querySelector("[data-download]"), asked);
    this.form.addEventListener("submit", (event) => event.preventDefault());
    for (const input of root.querySelectorAll("[data-file], [data-folder]")) input.addEventListener("change", () => this.chosen(input));
    shortcut(["I"], _("Import a model"), (event, inField) => event.key === "i" && !inField && plain(event), () => root.querySelector("[data-file]").click());
    this.wireDrop(document.querySelector("[data-dropzone]"));
  }

  /** Open or close the panel. */
  open(yes) {
    this.panel.hidden = !yes;
    this.toggle.setAttribute("aria-expanded", String(yes));
    if (yes) this.panel.querySelector("label, input")?.scrollIntoView({ block: "nearest" });
  }

  chosen(input) {
    this.take(filesOf(input));
    input.value = "";
  }

  take(files) {
    const { imports, left } = importsOf(files);
    if (!imports.length) return void toast(_("There is no model in it. Models end in .gguf or .safetensors; a picture model comes as a folder or a .zip."), { tone: "bad" });
    this.uploads.add(imports, imports.length === 1 ? this.options() : {});
    if (left.length) toast(ngettext("{n} file beside the models was left out.", "{n} files beside the models were left out.", left.length));
  }

  // what was typed counts once, for the one model that comes next
  options() {
    const { name, sha256 } = this.form.elements;
    const typed = { name: name.value.trim(), sha256: sha256.value.trim().toLowerCase() };
    this.form.reset();
    return typed;
  }

  wireDrop(zone) {
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
      filesBelow(entriesOf(event.dataTransfer)).then((files) => this.take(files), unreadable);
    });
  }
}

const plain = (event) => !event.ctrlKey && !event.metaKey && !event.altKey;

const unreadable = () => complain(new Error(_("What you dropped cannot be read. Choose the files with the button in its place.")));
