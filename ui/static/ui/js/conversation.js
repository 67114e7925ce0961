// One conversation as the page knows it: a tree of messages and the path through it that is shown. No DOM.

const LIVE = new Set(["queued", "loading", "reading", "writing"]);

/** Whether an answer is still being made. */
export const isLive = (message) => LIVE.has(message.state);

export class Conversation {
  constructor(data = {}) {
    this.load(data);
  }

  /** Take over what GET /api/conversations/{id} says. */
  load(data) {
    this.id = data.id ?? null;
    this.title = data.title ?? "";
    this.model = data.model ?? null;
    this.system = data.system ?? "";
    this.pinned = data.pinned ?? false;
    this.folder = data.folder ?? "";
    this.messages = new Map();
    this.children = new Map();
    for (const message of data.messages ?? []) this.add(message);
    this.leaf = this.messages.has(data.active_leaf) ? data.active_leaf : this.newestLeaf();
  }

  /** Add a message, or replace the one with its id. */
  add(message) {
    const known = this.messages.has(message.id);
    this.messages.set(message.id, message);
    if (known) return;
    const parent = message.parent ?? null;
    if (!this.children.has(parent)) this.children.set(parent, []);
    this.children.get(parent).push(message.id);
  }

  get(id) {
    return this.messages.get(id);
  }

  /** The messages shown, from the first to the leaf. */
  path() {
    const found = [];
    for (let at = this.get(this.leaf); at; at = this.get(at.parent)) found.push(at);
    return found.reverse();
  }

  /** The ids of a message and of its alternatives, oldest first. */
  siblings(id) {
    return this.children.get(this.get(id)?.parent ?? null) ?? [];
  }

  /** Show the branch of message `id`, down to its newest end. */
  switchTo(id) {
    this.leaf = this.deepest(id);
  }

  deepest(id) {
    let at = id;
    for (let below = this.children.get(at); below?.length; below = this.children.get(at)) at = below.at(-1);
    return at;
  }

  newestLeaf() {
    const roots = this.children.get(null) ?? [];
    return roots.length ? this.deepest(roots.at(-1)) : null;
  }

  /** The answer being made on the shown path, if any. */
  get running() {
    const last = this.get(this.leaf);
    return last && isLive(last) ? last : null;
  }

  /** All answers being made, shown or not. */
  get live() {
    return [...this.messages.values()].filter(isLive);
  }
}
