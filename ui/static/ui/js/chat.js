// The chat page: opens conversations, joins list, thread, composer and the exchange with the box.

import { get, patch } from "./api.js";
import { announce, Announcer } from "./announce.js";
import { copyText } from "./clipboard.js";
import { Composer } from "./composer.js";
import { conversationMenu } from "./conversation-actions.js";
import { showConnection } from "./connection.js";
import { Conversation } from "./conversation.js";
import { el, failure, icon } from "./dom.js";
import { Drawer } from "./drawer.js";
import { editInPlace } from "./edit.js";
import { Exchange } from "./exchange.js";
import { Follower } from "./follow.js";
import "./links.js";
import { showState } from "./message.js";
import { ModelPicker } from "./picker.js";
import { shortcut } from "./shortcuts.js";
import { Sidebar } from "./sidebar.js";
import { refreshStatus } from "./status.js";
import { _ } from "./text.js";
import { Thread } from "./thread.js";
import { complain } from "./toast.js";
import { loadingThread, noModel, welcome } from "./welcome.js";

const SPEED_AFTER_MS = 1500;

class ChatPage {
  constructor(root) {
    const part = (name) => root.querySelector(`[data-${name}]`);
    Object.assign(this, { root, title: part("title"), badge: part("connection"), menuButton: part("conversation-menu"), announcers: new Map(), speeds: new Map() });
    this.threadRoot = part("thread");
    this.follower = new Follower(part("scroller"), part("to-end"));
    this.thread = new Thread(this.threadRoot, this);
    this.composer = new Composer(part("composer"), { send: (text) => this.send(text), stop: () => this.stop() });
    this.picker = new ModelPicker(part("picker"), () => this.showEmpty());
    this.sidebar = new Sidebar(part("sidebar"), {
      open: (id) => this.go(id),
      changed: (id, fields) => id === this.conversation.id && this.changed(fields),
      gone: (id) => id === this.conversation.id && this.go(null),
    });
    this.menuButton.addEventListener("click", () => this.menu());
    this.drawer = new Drawer(root, this.sidebar.search);
    this.wireNavigation();
    this.wireShortcuts();
    const resized = new ResizeObserver(() => this.follower.grown());
    for (const name of ["scroller", "thread"]) resized.observe(part(name));
    void this.picker.load();
    void this.sidebar.load();
    void this.open(root.dataset.conversation || null);
  }

  // --- opening -------------------------------------------------------------------------------------

  /** Go to a conversation (null: a new one) and make it an entry of the browser's history. */
  go(id) {
    history.pushState({}, "", id ? `/c/${id}` : "/");
    void this.open(id);
  }

  async open(id) {
    this.exchange?.close();
    this.exchange = null;
    this.thread.clear();
    this.announcers.clear();
    this.drawer.set(false);
    this.conversation = new Conversation();
    this.conversation.id = id;
    this.sidebar.mark(id);
    this.composer.open(id);
    this.composer.setBusy(false);
    if (id && !(await this.read(id))) return this.composer.close();
    this.exchange = new Exchange(this.conversation, this);
    this.picker.set(this.conversation.model);
    this.follower.following = true;
    this.synced();
    this.composer.focus();
  }

  async read(id) {
    this.threadRoot.replaceChildren(...loadingThread());
    try {
      const data = await get(`/api/conversations/${id}`);
      if (this.conversation.id !== id) return false;
      this.conversation.load(data);
      this.threadRoot.replaceChildren();
      return true;
    } catch (error) {
      if (this.conversation.id === id) this.threadRoot.replaceChildren(this.unreadable(error, id));
      return false;
    }
  }

  unreadable(error, id) {
    if (error.status !== 404) return failure(error, () => this.open(id));
    return el("div", { class: "empty", role: "alert" }, icon("message-circle-off"), el("strong", {}, _("There is no such conversation")),
      el("p", {}, _("It was deleted, or it is not yours.")), el("button", { type: "button", class: "button primary", on: { click: () => this.go(null) } }, _("New chat")));
  }

  synced() {
    this.thread.show(this.conversation);
    this.showTitle();
    this.showEmpty();
    this.composer.setBusy(Boolean(this.conversation.running));
    this.follower.active = this.conversation.messages.size > 0;
    this.follower.grown();
  }

  showTitle() {
    const title = this.conversation.title || (this.conversation.id ? _("Untitled") : _("New chat"));
    this.title.textContent = title;
    document.title = `${title} · SecAI`;
    this.menuButton.hidden = !this.conversation.id;
  }

  showEmpty() {
    this.threadRoot.querySelector(".welcome")?.remove();
    if (this.conversation?.messages.size || !this.exchange) return;
    const use = (text) => (this.composer.set(text), this.composer.input.focus());
    this.threadRoot.append(this.picker.none ? noModel() : welcome(use));
  }

  // --- what a person does --------------------------------------------------------------------------

  send(text) {
    if (!this.exchange) return false;
    this.clearRefusal();
    this.exchange.send(text, this.picker.model);
    this.composer.setBusy(true);
    this.follower.toEnd();
    return true;
  }

  stop() {
    const message = this.conversation.running;
    if (message) this.exchange.stop(message);
  }

  regenerate(message) {
    this.clearRefusal();
    this.exchange.regenerate(message);
  }

  async edit(message) {
    const text = await editInPlace(this.thread.node(message.id), message.content);
    if (text) this.exchange.edit(message, text);
  }

  copy(message, button) {
    void copyText(message.content, button);
  }

  switchTo(id) {
    this.conversation.switchTo(id);
    this.follower.following = false;
    this.synced();
    this.thread.node(id)?.scrollIntoView({ block: "nearest" });
    this.thread.node(id)?.focus({ preventScroll: true });
    patch(`/api/conversations/${this.conversation.id}`, { active_leaf: this.conversation.leaf }).catch(complain);
  }

  menu() {
    conversationMenu(this.menuButton, this.conversation, {
      folders: this.sidebar.folders,
      changed: (fields) => (this.changed(fields), void this.sidebar.load()),
      gone: () => (this.go(null), void this.sidebar.load()),
      back: () => void this.sidebar.load(),
    });
  }

  changed(fields) {
    Object.assign(this.conversation, fields);
    this.showTitle();
  }

  grown = () => this.follower.grown();

  // --- what the box says ---------------------------------------------------------------------------

  started(message, { isNew }) {
    if (isNew) {
      history.replaceState({}, "", `/c/${this.conversation.id}`);
      this.composer.rename(this.conversation.id);
    }
    this.clearRefusal();
    this.announcers.set(message.id, new Announcer());
    this.synced();
    for (const id of [...this.conversation.siblings(message.id), ...this.conversation.siblings(message.parent)]) this.thread.refreshFoot(id);
    this.sidebar.mark(this.conversation.id);
    void this.sidebar.load();
    refreshStatus();
  }

  state(message, detail) {
    const node = this.thread.node(message.id);
    if (detail.state === "writing") {
      this.speeds.set(message.id, performance.now());
      refreshStatus();
    }
    if (node?.filled) showState(node, detail);
  }

  delta(message, text) {
    this.thread.node(message.id)?.stream?.push(text);
    this.announcers.get(message.id)?.push(text);
  }

  reset(message) {
    const node = this.thread.node(message.id);
    if (node) node.stream = null;
    this.thread.refresh(message.id);
  }

  ended(message) {
    const node = this.thread.node(message.id);
    if (node?.stream) {
      node.stream.finish();
      node.stream = null;
      node.removeAttribute("aria-busy");
      node.querySelector(":scope > .progress")?.remove();
      this.thread.refreshFoot(message.id);
    } else if (node) {
      this.thread.refresh(message.id);
    }
    this.announcers.get(message.id)?.finish();
    this.announcers.delete(message.id);
    if (message.state !== "complete") announce(message.error ?? _("The answer is not complete."));
    this.composer.setBusy(Boolean(this.conversation.running));
    this.follower.grown();
    void this.sidebar.load();
    refreshStatus();
  }

  refused(error, text) {
    this.composer.setBusy(Boolean(this.conversation.running));
    if (text && !this.composer.input.value) this.composer.set(text);
    const help = error.code?.startsWith("model.") ? el("a", { class: "button small", href: "/models" }, _("Open Models")) : null;
    this.clearRefusal();
    this.threadRoot.append(el("div", { class: "notice bad refusal", role: "alert" }, icon("circle-alert"), el("span", { class: "grow" }, error.message), help));
    this.follower.toEnd();
  }

  clearRefusal() {
    this.threadRoot.querySelector(".refusal")?.remove();
  }

  connection(state, seconds) {
    showConnection(this.badge, state, seconds);
  }

  // --- wiring --------------------------------------------------------------------------------------

  wireNavigation() {
    addEventListener("popstate", () => void this.open(/^\/c\/([\w-]+)$/.exec(location.pathname)?.[1] ?? null));
    this.root.querySelector("[data-new]").addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.go(null);
    });
    document.addEventListener("box:status", ({ detail }) => this.showSpeed(detail?.engine));
  }

  showSpeed(engine) {
    const message = this.conversation?.running;
    const since = message && this.speeds.get(message.id);
    const node = message && this.thread.node(message.id);
    if (!since || !node?.filled || engine?.active !== 1 || !engine.tokens_per_second) return;
    if (message.state === "writing" && performance.now() - since > SPEED_AFTER_MS) showState(node, message, engine.tokens_per_second);
  }

  wireShortcuts() {
    const mod = (event) => event.ctrlKey || event.metaKey;
    shortcut(["Enter"], _("Send"));
    shortcut(["Shift", "Enter"], _("Break the line"));
    shortcut(["Esc"], _("Stop the answer"), (event) => event.key === "Escape" && Boolean(this.conversation?.running), () => this.stop());
    shortcut(["Ctrl", "Shift", "O"], _("New chat"), (event) => mod(event) && event.shiftKey && event.code === "KeyO", () => this.go(null));
    shortcut(["/"], _("Write a message"), (event, inField) => event.key === "/" && !inField, () => this.composer.input.focus());
    shortcut(["Ctrl", "K"], _("Search conversations"), (event) => mod(event) && event.key === "k", () => this.find());
    shortcut(["End"], _("To the end"), (event, inField) => event.key === "End" && !inField, () => this.follower.toEnd());
  }

  find() {
    if (matchMedia("(max-width: 900px)").matches) this.drawer.set(true);
    this.sidebar.search.focus();
    this.sidebar.search.select();
  }
}

new ChatPage(document.querySelector("[data-chat]"));
