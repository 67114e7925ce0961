// Files out of a drop or a folder picker, each with its path below what was dropped.

const MOST_FILES = 2000;
const HIDDEN = /(^|\/)(\.[^/]*|__MACOSX|Thumbs\.db|desktop\.ini)(\/|$)/i; // what systems put beside the files

/** The entries of a drop; to be called inside the event, for they are gone after it. */
export function entriesOf(transfer) {
  const entries = [...(transfer.items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  return entries.length ? entries : [...transfer.files];
}

/** All files below the entries as `{file, path}`, folders walked through; hidden ones are left out. */
export async function filesBelow(entries) {
  const found = [];
  for (const entry of entries) await walk(entry, "", found);
  return found.filter(({ path }) => !HIDDEN.test(path));
}

/** The files of an <input>, with their paths where a folder was chosen. */
export function filesOf(input) {
  return [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name })).filter(({ path }) => !HIDDEN.test(path));
}

async function walk(entry, above, found) {
  if (found.length >= MOST_FILES) return;
  if (entry instanceof File) return void found.push({ file: entry, path: entry.name });
  const path = `${above}${entry.name}`;
  if (entry.isFile) return void found.push({ file: await new Promise((done, failed) => entry.file(done, failed)), path });
  for (const child of await children(entry.createReader())) await walk(child, `${path}/`, found);
}

// a reader gives a folder in pieces; an empty piece is the end
async function children(reader) {
  const all = [];
  for (;;) {
    const piece = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!piece.length) return all;
    all.push(...piece);
  }
}
