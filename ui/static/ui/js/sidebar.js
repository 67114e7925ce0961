// The list of conversations: search, pinned first, folders, then by day; more when scrolled to its end.

import { get } from "./api.js";
import { conversationMenu } from "./conversation-actions.js";
import { el, empty, failure, icon, tool } from "./dom.js";
import { ago, exactTime } from "./format.js";
import { _ } from "./text.js";

const PAGE = 50;
const TYPING_MS = 200;
const DAY_MS = 86_400_000;

export class Sidebar {
  constructor(root, { open, changed, gone }) {
    Object.assign(this, { root, openOne: open, changedOne: changed, goneOne: gone, items: [], more: false, query: "", current: null, shut: new Set() });
    this.list = root.querySelector("[data-list]");
    this.search = root.querySelector("[data-search]");
    this.search.addEventListener("input", () => this.typed());
    this.list.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.list.addEventListener("click", (event) => this.clicked(event));
    this.list.addEventListener("keydown", (event) => this.pressed(event));
    this.list.append(...Array.from({ length: 5 }, () => el("div", { class: "skeleton item" })));
  }

  get folders() {
    return [...new Set(this.items.map(({ folder }) => folder).filter(Boolean))].sort();
  }

  /** Read the list anew (as many as are shown). */
  async load() {
    const size = Math.max(PAGE, Math.min(200, this.items.length));
    try {
      const { conversations, more } = await get(`/api/conversations?${new URLSearchParams({ q: this.query, limit: size })}`);
      Object.assign(this, { items: conversations, more });
      this.show();
    } catch (error) {
      if (!this.items.length) this.list.replaceChildren(failure(error, () => this.load()));
    }
  }

  async loadMore() {
    this.more = false;
    const before = this.items.at(-1)?.updated_at;
    const answer = await get(`/api/conversations?${new URLSearchParams({ q: this.query, before, limit: PAGE })}`).catch(() => null);
    if (!answer) return;
    const known = new Set(this.items.map(({ id }) => id));
    this.items.push(...answer.conversations.filter(({ id }) => !known.has(id)));
    this.more = answer.more;
    this.show();
  }

  scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.list;
    if (this.more && scrollHeight - scrollTop - clientHeight < 300) void this.loadMore();
  }

  typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.query = this.search.value.trim();
      this.items = [];
      void this.load();
    }, TYPING_MS);
  }

  /** Mark the conversation that is open. */
  mark(id) {
    this.current = id;
    for (const link of this.list.querySelectorAll("a[data-id]")) {
      if (link.dataset.id === id) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  show() {
    if (!this.items.length) return this.list.replaceChildren(this.nothing());
    const groups = this.grouped();
    const at = this.list.scrollTop;
    this.list.replaceChildren(...groups.map(([name, items, foldable]) => this.group(name, items, foldable)));
    this.list.scrollTop = at;
    this.mark(this.current);
  }

  nothing() {
    return this.query
      ? empty("search", _("Nothing found"), _("No conversation contains “{q}”.", { q: this.query }))
      : empty("message-square-text", _("No conversations yet"), _("They appear here, on this box only."));
  }

  grouped() {
    if (this.query) return [[_("Found"), this.items, false]];
    const groups = new Map();
    const put = (name, item, foldable) => {
      if (!groups.has(name)) groups.set(name, [name, [], foldable]);
      groups.get(name)[1].push(item);
    };
    for (const item of this.items.filter(({ pinned }) => pinned)) put(_("Pinned"), item, false);
    for (const item of this.items.filter(({ pinned, folder }) => folder && !pinned)) put(item.folder, item, true);
    for (const item of this.items.filter(({ pinned, folder }) => !folder && !pinned)) put(period(item.updated_at), item, false);
    return [...groups.values()];
  }

  group(name, items, foldable) {
    const rows = el("ul", { class: "rows" }, items.map((item) => this.row(item)));
    if (!foldable) return el("section", { "aria-label": name }, el("h2", {}, name), rows);
    const box = el("details", { open: !this.shut.has(name) }, el("summary", {}, icon("folder"), name), rows);
    box.addEventListener("toggle", () => this.shut[box.open ? "delete" : "add"](name));
    return box;
  }

  row(item) {
    const about = [ago(item.updated_at), item.model].filter(Boolean).join(" · ");
    const link = el("a", { href: `/c/${item.id}`, data: { id: item.id }, title: exactTime(item.updated_at) },
      el("span", { class: "title clip" }, item.title || _("Untitled")), el("span", { class: "about clip" }, about));
    return el("li", {}, link, tool("ellipsis", _("More for “{title}”", { title: item.title }), (event) => this.menu(event.currentTarget, item)));
  }

  menu(button, item) {
    conversationMenu(button, item, {
      folders: this.folders,
      changed: (fields) => (this.changedOne(item.id, fields), void this.load()),
      gone: () => (this.goneOne(item.id), void this.load()),
      back: () => void this.load(),
    });
  }

  clicked(event) {
    const link = event.target.closest("a[data-id]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    this.openOne(link.dataset.id);
  }

  pressed(event) {
    if (!["ArrowDown", "ArrowUp"].includes(event.key)) return;
    const links = [...this.list.querySelectorAll("a[data-id]")];
    const to = links.indexOf(document.activeElement.closest("a")) + (event.key === "ArrowDown" ? 1 : -1);
    if (!links[to]) return;
    event.preventDefault();
    links[to].focus();
  }
}

function period(iso) {
  const today = new Date().setHours(0, 0, 0, 0);
  const at = new Date(iso).getTime();
  if (at >= today) return _("Today");
  if (at >= today - DAY_MS) return _("Yesterday");
  if (at >= today - 7 * DAY_MS) return _("The last 7 days");
  return at >= today - 30 * DAY_MS ? _("The last 30 days") : _("Older");
}
