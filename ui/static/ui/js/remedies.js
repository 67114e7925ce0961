// What a person can do about a refusal, by the check that refused and its code. The box's own sentence says why.

import { refusedBy } from "./stages.js";
import { _ } from "./text.js";

const AGAIN = _("The file is damaged, or somebody built it to harm. Download it again from its maker, compare its SHA-256 with the one they publish, and tell them the sentence above if it is refused again.");
const CUT = _("Part of the file is missing. Download it again to its end, and compare its size with the one its maker names.");
const TOGETHER = _("Drop all parts of this model together, with its index file where it has one; they are imported as one.");
const CONVERT = _("Look for a current .gguf of this model, or convert it with a current llama.cpp.");
const BUSY = _("The check itself could not be finished. Check it again when the box has less to do; if that does not help, tell the operator.");
const OTHER = _("That is no model file. Look for a .gguf or .safetensors file, or a zip of a whole picture pipeline.");
const SAFE = _("Look for the same model as .safetensors or .gguf; most makers offer both. Those hold numbers only and cannot run anything.");
const TEMPLATE = _("A chat template is a small program inside the file. Ask the maker for a file with a plain template, or take the same model from somebody else. Nothing on your side can change this file safely.");
const OPERATOR = _("The operator of this box has set this rule in the policy for models, and can change it.");

// code, or the beginning of codes → sentence; the longest that fits is taken
const BY_CODE = {
  "file.pickle": SAFE, "file.polyglot": _("Two kinds of file are glued together in it, which no honest model is. Take the model from its maker."),
  "file.lfs_pointer": _("This is the short note that stands in for the file in a Git repository. Download the real file, which is many megabytes large."),
  "file.html": _("A web page was saved in place of the model. Open the address in a browser, sign in there if you must, and use its download button."),
  "file.zip": _("Unpack it and drop the model file inside. A picture model stays zipped only as a whole pipeline, with model_index.json at its top."),
  "file.archive": _("Unpack it, and drop the model file that is inside."),
  "file.old_format": CONVERT, "file.empty": CUT, "file.short": CUT, "file.zeros": CUT, file: OTHER,
  "gguf.version": CONVERT, "gguf.endian": CONVERT, "gguf.split": TOGETHER, "gguf.set": TOGETHER, "gguf.tensor.outside": CUT, "gguf.truncated": CUT,
  "gguf.tensor.type": CONVERT, "gguf.architecture": CONVERT, gguf: AGAIN,
  "safetensors.set": TOGETHER, "safetensors.index": TOGETHER, "safetensors.truncated": CUT, "safetensors.tensor.outside": CUT, safetensors: AGAIN,
  "set.": TOGETHER, "pipeline.shards": TOGETHER, "pipeline.part.missing": TOGETHER, "pipeline.index.missing": TOGETHER,
  "pipeline.file.program": _("It brings program files along, which SecAI never runs. Remove them from the folder, or take the pipeline from a maker who leaves them out."),
  pipeline: _("Take the pipeline as its maker publishes it, with standard diffusers or transformers parts and .safetensors weights."),
  "inspector.": BUSY, "policy.size": OPERATOR, "policy.format": OPERATOR, template: TEMPLATE,
  "source.local": OPERATOR, "source.unlisted": _("Ask the operator to add this place to the list of sources, or take the model from a place that is on it."),
  "source.revision": _("Name one fixed version in the address: a commit in place of “main”."),
  "airlock.disabled": _("The network door is closed. Once it is open again, take the download up where it stopped."),
  "airlock.destination": _("The rules of the network door do not let the box reach this address. The operator can add it."),
  "airlock.upstream_refused": _("Look whether the address is right, for example in a browser on another computer. A file behind a sign-in must be fetched there and dropped here."),
  "download.digest": _("What came is not the file whose SHA-256 was named. Compare the digest with the maker's page before you try again."),
  "download.changed": _("The file changed at its source while it came. Start the download again from the beginning."),
  "storage.full": _("Make room on the disk, for example by removing models you do not use, and take it up again."),
  "engine.": _("Check it again when the box has less to do. If the engine cannot run this kind of model, a later version of the box may."),
};

const BY_STAGE = {
  source_policy: OPERATOR,
  format_gate: OTHER,
  integrity: _("What lies here is not what was promised. Download it again, and compare its SHA-256 with the one its maker publishes."),
  provenance: _("Drop the model together with its .minisig or .sig file. If the signer is not known here yet, an operator can add their key to the trusted keys in the admin."),
  behavior: _("It did in a trial what it must not do, so do not use this file elsewhere either. Take the model from its own maker, not from a copy by somebody else."),
  diffusion: _("Take the pipeline as its maker publishes it, with standard diffusers or transformers parts and .safetensors weights."),
};
const UNDECIDED = { behavior: _("The trial could not be finished, so nothing speaks for the file. Check it again when the box has less to do or more memory is free.") };

/** One helpful sentence or two for a row that was refused or failed; null where there is nothing to do. */
export function remedy({ status, stages = [], download }) {
  if (status === "failed") return _("Remove it, import it again from a source you trust, and find out who or what could write to this disk.");
  if (status === "download_failed") return byCode(download?.code) ?? _("Try again; it goes on from what has arrived.");
  if (status !== "refused") return null;
  const stage = refusedBy(stages);
  if (!stage) return _("Check it again, or import the file again from a source you trust.");
  return byCode(stage.evidence?.code) ?? byFinding(stage) ?? (stage.verdict === "inconclusive" ? (UNDECIDED[stage.name] ?? BUSY) : (BY_STAGE[stage.name] ?? AGAIN));
}

function byCode(code) {
  if (!code) return null;
  const known = Object.keys(BY_CODE).filter((start) => code.startsWith(start)).sort((a, b) => b.length - a.length);
  return known.length ? BY_CODE[known[0]] : null;
}

// the contents check holds several findings; the first kind that is there decides what to do
function byFinding({ name, evidence: found = {} }) {
  if (name !== "static_scan") return null;
  if (found.rules?.matches?.length) return _("A rule for hidden programs or a known attack matched. Do not use this file elsewhere either; take the model from its own maker.");
  if (found.template?.findings?.length) return TEMPLATE;
  return AGAIN;
}
