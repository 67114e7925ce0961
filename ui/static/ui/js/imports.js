// Which files belong together: one model each, with its parts, its index and its signature. Pure.

import { _, ngettext } from "./text.js";

const MODEL = /\.(gguf|safetensors|zip)$/i;
const OLD = /\.(bin|pt|pth|ckpt|pkl|pickle)$/i; // the check explains what they would have done
const SIGNATURE = /\.(minisig|sig|sigstore)$/i;
const SHARD = /^(.*)-(\d{5})-of-(\d{5})\.(gguf|safetensors)$/i;
const PIPELINE = "model_index.json";
const NAMED_MISSING = 3;

const folderOf = (path) => path.slice(0, path.lastIndexOf("/") + 1);
const nameOf = (path) => path.slice(path.lastIndexOf("/") + 1);

/**
 * Sort files `{file, path}` into imports `{title, files, signature, problem}`: a picture pipeline is its whole folder,
 * shards are one model, everything else stands alone. `problem` is a sentence why it need not be sent, or null;
 * `left` are the files beside models that nobody needs.
 */
export function importsOf(all) {
  const signatures = all.filter(({ path }) => SIGNATURE.test(path));
  const others = all.filter(({ path }) => !SIGNATURE.test(path));
  const roots = pipelineRoots(others);
  const imports = roots.map((root) => ({ ...whole(root, others), problem: null }));
  const loose = others.filter(({ path }) => !roots.some((root) => path.startsWith(root)));
  const { models, left } = sorted(loose);
  imports.push(...grouped(models, left));
  const lost = attach(imports, signatures);
  return { imports: [...imports, ...lost], left: left.filter(({ taken }) => !taken).map(({ path }) => path) };
}

// a folder that holds the index of a pipeline, but none inside another one
function pipelineRoots(files) {
  const roots = files.filter(({ path }) => nameOf(path) === PIPELINE && path !== PIPELINE).map(({ path }) => folderOf(path));
  return roots.filter((root) => !roots.some((other) => other !== root && root.startsWith(other)));
}

function whole(root, files) {
  const cut = root.length - nameOf(root.slice(0, -1)).length - 1; // keeps the folder's own name in front
  const mine = files.filter(({ path }) => path.startsWith(root)).map(({ file, path }) => ({ file, path: path.slice(cut) }));
  return { title: nameOf(root.slice(0, -1)), files: mine, signature: null, folder: root };
}

// a single file is always taken; out of a folder only models are, and old formats only where nothing better lies
function sorted(files) {
  const inFolder = ({ path }) => path.includes("/");
  const good = files.filter(({ path }) => MODEL.test(path));
  const fits = (one) => MODEL.test(one.path) || (inFolder(one) ? OLD.test(one.path) && !good.some(inFolder) : !isIndex(one.path));
  return { models: files.filter(fits), left: files.filter((one) => !fits(one)) };
}

const isIndex = (path) => /\.safetensors\.index\.json$/i.test(path);

function grouped(models, left) {
  const sets = new Map();
  for (const one of models) {
    const shard = SHARD.exec(nameOf(one.path));
    const key = shard ? `${folderOf(one.path)}${shard[1]}-of-${shard[3]}.${shard[4].toLowerCase()}` : one.path;
    sets.set(key, [...(sets.get(key) ?? []), one]);
  }
  return [...sets.values()].map((files) => (SHARD.test(nameOf(files[0].path)) ? shards(files, left) : single(files[0])));
}

function single({ file, path }) {
  const name = nameOf(path);
  const known = MODEL.test(name) || OLD.test(name);
  const problem = known ? null : _("This is no model file. Models end in .gguf or .safetensors; a picture model comes as a folder or a .zip.");
  return { title: name, files: [{ file, path: name }], signature: null, folder: folderOf(path), problem };
}

function shards(files, left) {
  const [, base, , count, kind] = SHARD.exec(nameOf(files[0].path));
  const folder = folderOf(files[0].path);
  const index = left.find(({ path }) => path === `${folder}${base}.safetensors.index.json`);
  if (index) index.taken = true;
  const sent = [...files, ...(index ? [index] : [])].map(({ file, path }) => ({ file, path: nameOf(path) }));
  return { title: `${base}.${kind}`, files: sent, signature: null, folder, problem: missing(base, Number(count), kind, files) };
}

function missing(base, count, kind, files) {
  const here = new Set(files.map(({ path }) => Number(SHARD.exec(nameOf(path))[2])));
  const gone = Array.from({ length: Math.min(count, 99_999) }, (_value, at) => at + 1).filter((n) => !here.has(n));
  if (!gone.length) return null;
  const names = gone.slice(0, NAMED_MISSING).map((n) => `${base}-${String(n).padStart(5, "0")}-of-${String(count).padStart(5, "0")}.${kind}`);
  const list = names.join(", ") + (gone.length > NAMED_MISSING ? ", …" : "");
  return ngettext("{n} of {m} parts is missing: {list}. Drop all parts together.", "{n} of {m} parts are missing: {list}. Drop all parts together.", gone.length, { m: count, list });
}

// a signature belongs to the file whose name it carries, else to the only model of its folder, else to the only one
function attach(imports, signatures) {
  const lost = [];
  for (const { file, path } of signatures) {
    const signed = nameOf(path).replace(SIGNATURE, "");
    const free = imports.filter(({ problem, signature }) => !problem && !signature);
    const near = free.filter(({ folder }) => folder === folderOf(path) || folderOf(path).startsWith(folder || "\0"));
    const owner = free.find(({ title, files }) => title === signed || files.some((one) => nameOf(one.path) === signed)) ?? only(near) ?? only(imports.length === 1 ? free : []);
    if (owner) owner.signature = file;
    else lost.push({ title: nameOf(path), files: [{ file, path: nameOf(path) }], signature: null, folder: "", problem: _("A signature belongs to a model. Drop it together with the model that it signs.") });
  }
  return lost;
}

const only = (list) => (list.length === 1 ? list[0] : null);
