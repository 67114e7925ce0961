// Talking with the box about one conversation: what is sent, what comes back, and how it survives a lost connection.

import { get } from "./api.js";
import { isLive } from "./conversation.js";
import { Socket } from "./socket.js";
import { _ } from "./text.js";

const STATE_OF = { stop: "complete", length: "complete", cancelled: "cancelled", interrupted: "interrupted" };

/**
 * `view` hears: started(message, own), state(message, detail), delta(message, text), reset(message), ended(message),
 * refused(error, text), connection(state, seconds), synced().
 */
export class Exchange {
  constructor(conversation, view) {
    Object.assign(this, { conversation, view, seen: new Map(), pending: null, opened: false });
    this.forgetPartial();
    this.socket = new Socket(() => `/ws/chat/${conversation.id ?? "new"}`, {
      message: (data) => this.receive(data),
      open: () => this.connected(),
      state: (state, seconds) => this.connection(state, seconds),
    });
  }

  /** Send a person's message below the shown path; the text is kept until the box has it. */
  send(text, model) {
    const parent = this.conversation.leaf;
    this.request({ type: "send", text, parent, ...(model ? { model } : {}) }, text);
  }

  regenerate(message) {
    this.request({ type: "regenerate", message_id: message.id });
  }

  edit(message, text) {
    this.request({ type: "edit", message_id: message.id, text }, text);
  }

  stop(message) {
    this.socket.send({ type: "stop", message_id: message.id });
  }

  close() {
    this.socket.stop();
  }

  request(frame, text = null) {
    this.pending = { frame, text, sent: this.socket.send(frame) };
  }

  receive(data) {
    const message = data.message_id ? this.conversation.get(data.message_id) : null;
    switch (data.type) {
      case "started": return this.started(data);
      case "state": return message && isLive(message) && this.moved(message, data);
      case "delta": return message && this.grew(message, data);
      case "done": return message && this.done(message, data);
      case "error": return this.failed(message, data);
    }
  }

  started({ conversation_id: id, title, user_message: asked, message }) {
    const own = this.pending !== null;
    const isNew = this.conversation.id === null;
    this.pending = null;
    this.conversation.id = id;
    if (title) this.conversation.title = title;
    const continues = own || this.conversation.leaf === (asked ?? message).parent;
    if (asked) this.conversation.add(asked);
    if (this.conversation.get(message.id)) return;
    this.conversation.add({ ...message, content: "" });
    this.seen.set(message.id, -1);
    if (continues) this.conversation.leaf = message.id;
    this.view.started(this.conversation.get(message.id), { own, isNew });
  }

  moved(message, { state, place = null, progress = null }) {
    message.state = state;
    this.view.state(message, { state, place, progress });
  }

  grew(message, { seq, text }) {
    const last = this.seen.get(message.id) ?? -1;
    if (seq <= last) return;
    if (seq > last + 1) return this.resume(message);
    this.seen.set(message.id, seq);
    if (message.state !== "writing" && isLive(message)) this.moved(message, { state: "writing" });
    message.content += text;
    this.view.delta(message, text);
  }

  done(message, { finish_reason: reason, usage, timings, model, content, error }) {
    const whole = typeof content === "string" && content !== message.content;
    if (whole) message.content = content; // the answer had ended before we asked for the rest
    const state = STATE_OF[reason] ?? "complete";
    Object.assign(message, { state, finish_reason: reason, usage, timings, model: model ?? message.model, error: error ?? message.error });
    if (whole) this.view.reset(message);
    this.view.ended(message);
  }

  failed(message, { code, error }) {
    if (message && isLive(message) && !code?.startsWith("ws.")) {
      Object.assign(message, { state: "failed", error, error_code: code });
      return this.view.ended(message);
    }
    const text = this.pending?.text ?? null;
    this.pending = null;
    return this.view.refused({ code, message: error }, text);
  }

  async connected() {
    if (this.opened) await this.sync();
    this.opened = true;
    for (const message of this.conversation.live) this.resume(message);
    if (this.pending && !this.pending.sent) this.pending.sent = this.socket.send(this.pending.frame);
  }

  resume(message) {
    this.socket.send({ type: "resume", message_id: message.id, seq: this.seen.get(message.id) ?? -1 });
  }

  /** After a lost connection: learn what happened meanwhile, and whether the pending message arrived. */
  async sync() {
    if (this.conversation.id === null) return this.lost();
    const data = await get(`/api/conversations/${this.conversation.id}`).catch(() => null);
    if (!data) return;
    const fresh = data.messages.filter(({ id }) => !this.conversation.get(id));
    for (const message of data.messages) this.merge(message);
    if (this.pending?.sent) {
      const arrived = fresh.some(({ role, content }) => role === "user" && content === this.pending.text);
      if (arrived) this.pending = null;
      else this.lost();
    }
    if (fresh.length) this.conversation.leaf = this.conversation.deepest(this.conversation.leaf ?? fresh[0].id);
    this.view.synced();
  }

  merge(message) {
    const known = this.conversation.get(message.id);
    if (!known) {
      this.conversation.add(isLive(message) ? { ...message, content: "" } : message);
    } else if (isLive(known) && !isLive(message)) {
      Object.assign(known, message);
      this.view.reset(known);
    }
  }

  lost() {
    if (!this.pending?.sent) return;
    const { text } = this.pending;
    this.pending = null;
    this.view.refused({ code: "network", message: _("The connection broke before the box confirmed your message. Send it again if it is not in the list.") }, text);
  }

  connection(state, seconds) {
    this.view.connection(state, seconds);
  }

  /** What a reload finds half-written is asked for again from its start. */
  forgetPartial() {
    for (const message of this.conversation.live) {
      message.content = "";
      this.seen.set(message.id, -1);
    }
  }
}
