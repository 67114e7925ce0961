// The shown path of messages as DOM: shells at once, contents when there is time, newest first.

import { fill, fillFoot, messageShell } from "./message.js";

const AT_ONCE = 12;
const SLICE_MS = 8;

const whenIdle = window.requestIdleCallback ?? ((run) => setTimeout(() => run({ timeRemaining: () => SLICE_MS }), 16));

export class Thread {
  constructor(root, actions) {
    Object.assign(this, { root, actions, nodes: new Map(), job: 0 });
  }

  /** Make the page show the path of `conversation`, keeping what is already there. */
  show(conversation) {
    this.conversation = conversation;
    const path = conversation.path();
    const wanted = new Set(path.map((message) => message.id));
    for (const [id, node] of this.nodes) if (!wanted.has(id)) this.drop(id, node);
    let before = this.root.firstElementChild;
    for (const message of path) {
      const node = this.nodes.get(message.id) ?? this.make(message);
      if (node === before) before = before.nextElementSibling;
      else this.root.insertBefore(node, before);
    }
    for (const message of path.slice(-AT_ONCE)) this.fillOne(message.id);
    this.fillRest(path.slice(0, -AT_ONCE).map((message) => message.id));
  }

  make(message) {
    const node = messageShell(message);
    this.nodes.set(message.id, node);
    return node;
  }

  drop(id, node) {
    node.remove();
    this.nodes.delete(id);
  }

  clear() {
    this.job += 1;
    this.nodes.clear();
    this.root.replaceChildren();
  }

  node(id) {
    return this.nodes.get(id);
  }

  fillOne(id) {
    const node = this.nodes.get(id);
    if (!node || node.filled) return;
    fill(node, this.conversation.get(id), this.conversation, this.actions);
  }

  /** Fill the older messages from the newest up, in slices that leave the page responsive. */
  fillRest(ids) {
    const job = (this.job += 1);
    const work = (deadline) => {
      if (job !== this.job) return;
      const until = performance.now() + Math.min(SLICE_MS, Math.max(2, deadline.timeRemaining()));
      while (ids.length && performance.now() < until) this.fillOne(ids.pop());
      if (ids.length) whenIdle(work);
    };
    if (ids.length) whenIdle(work);
  }

  /** Render a message anew, for example when it ended. */
  refresh(id) {
    const node = this.nodes.get(id);
    if (node) fill(node, this.conversation.get(id), this.conversation, this.actions);
  }

  /** Update only the line below the message. */
  refreshFoot(id) {
    const foot = this.nodes.get(id)?.querySelector(":scope > footer");
    if (foot) fillFoot(foot, this.conversation.get(id), this.conversation, this.actions);
  }
}
