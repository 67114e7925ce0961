// One message on the page: bubble or answer, its state while it is made, its tools.

import { el, icon, tool } from "./dom.js";
import { duration, exactTime, number, percent } from "./format.js";
import { isLive } from "./conversation.js";
import { renderWhole, StreamRenderer } from "./stream.js";
import { _ } from "./text.js";

const CHARACTERS_PER_LINE = 80;

/** The shell of a message, cheap enough for a thousand of them; `fill` puts the content in. */
export function messageShell(message) {
  const mine = message.role === "user";
  const node = el("article", { class: `message ${message.role}`, data: { message: message.id }, "aria-label": mine ? _("You") : _("Answer"), tabindex: "-1" });
  const lines = Math.ceil((message.content?.length ?? 0) / CHARACTERS_PER_LINE) + 2;
  node.style.containIntrinsicSize = `auto none auto ${lines * 25 + 40}px`;
  return node;
}

/** Put the content of `message` into its shell. `actions` are the things a person can do with it. */
export function fill(node, message, conversation, actions) {
  const body = el("div", { class: "body" });
  const foot = el("footer");
  node.replaceChildren(body, foot);
  node.filled = true;
  if (message.role === "user") body.textContent = message.content;
  else fillAnswer(node, body, message, actions);
  fillFoot(foot, message, conversation, actions);
}

function fillAnswer(node, body, message, actions) {
  body.classList.add("answer");
  if (isLive(message)) {
    node.stream = new StreamRenderer(body, actions.grown);
    if (message.content) node.stream.push(message.content);
    node.setAttribute("aria-busy", "true");
    showState(node, message);
  } else {
    renderWhole(body, message.content ?? "");
  }
}

/** Show where an answer stands: place in the queue, share of the prompt read, speed of writing. */
export function showState(node, { state, place = null, progress = null }, speed = null) {
  node.querySelector(":scope > .progress")?.remove();
  const [iconName, text] = stateWords(state, place, progress, speed);
  const bar = progress === null ? null : el("progress", { max: "1", value: String(progress), "aria-label": text });
  node.querySelector("footer").before(el("div", { class: "progress small quiet num" }, icon(iconName, iconName === "loader-circle" ? "spin" : ""), el("span", {}, text), bar));
}

function stateWords(state, place, progress, speed) {
  const share = progress === null ? "" : ` ${percent(progress)}`;
  switch (state) {
    case "loading": return ["loader-circle", _("Loading the model") + share];
    case "reading": return ["loader-circle", _("Reading the conversation") + share];
    case "writing": return ["loader-circle", speed ? _("Writing, {n} tok/s", { n: number(speed, 1) }) : _("Writing")];
    default: return ["hourglass", place ? _("Waiting, place {n}", { n: place }) : _("Waiting for its turn")];
  }
}

const ENDINGS = {
  interrupted: ["triangle-alert", "warn", _("This answer was interrupted and is not complete.")],
  failed: ["circle-alert", "bad", _("This answer failed.")],
  cancelled: ["square", "", _("You stopped this answer.")],
};

function ending(message, actions) {
  if (message.role !== "assistant" || isLive(message)) return null;
  const again = () => el("button", { type: "button", class: "button small", on: { click: () => actions.regenerate(message) } }, icon("rotate-ccw"), _("Try again"));
  if (message.finish_reason === "length" && message.state === "complete") {
    return el("div", { class: "notice warn ending" }, icon("scroll-text"), el("span", { class: "grow" }, _("The answer reached the length limit and stops here.")));
  }
  const words = ENDINGS[message.state];
  if (!words) return null;
  const [iconName, tone, text] = words;
  if (message.state === "cancelled") return el("div", { class: "ending quiet small row" }, icon(iconName), text);
  const help = message.error_code?.startsWith("model.") ? el("a", { class: "button small", href: "/models" }, _("Open Models")) : null;
  return el("div", { class: `notice ending ${tone}`, role: "alert" }, icon(iconName), el("span", { class: "grow" }, text, message.error ? ` ${message.error}` : ""), help, again());
}

/** The line below a message: how it ended, tools, alternatives, speed. */
export function fillFoot(foot, message, conversation, actions) {
  const end = ending(message, actions);
  const tools = el("div", { class: "tools" });
  const siblings = conversation.siblings(message.id);
  if (siblings.length > 1) tools.append(alternatives(siblings, message.id, actions));
  const copy = tool("copy", _("Copy"), () => actions.copy(message, copy));
  if (message.role === "user") tools.append(tool("pencil", _("Edit and branch"), () => actions.edit(message)), copy);
  else if (!isLive(message)) tools.append(copy, tool("rotate-ccw", _("Answer again"), () => actions.regenerate(message)), facts(message));
  foot.replaceChildren(...[end, tools].filter(Boolean));
}

function alternatives(siblings, id, actions) {
  const at = siblings.indexOf(id);
  const step = (label, name, to) => {
    const button = tool(name, label, () => actions.switchTo(siblings[to]));
    button.disabled = to < 0 || to >= siblings.length;
    return button;
  };
  return el("span", { class: "alternatives" },
    step(_("Previous version"), "chevron-left", at - 1),
    el("span", { class: "num small" }, `${at + 1} / ${siblings.length}`),
    step(_("Next version"), "chevron-right", at + 1));
}

function facts({ model, usage, timings, created_at: at }) {
  const parts = [];
  if (timings?.tokens_per_second) parts.push(_("{n} tok/s", { n: number(timings.tokens_per_second, 1) }));
  if (timings?.total_ms) parts.push(duration(timings.total_ms / 1000));
  if (timings?.first_token_ms) parts.push(_("first word after {time}", { time: duration(timings.first_token_ms / 1000) }));
  if (usage?.completion_tokens) parts.push(_("{n} tokens", { n: number(usage.completion_tokens) }));
  if (usage?.prompt_tokens) parts.push(_("{n} read ({c} from cache)", { n: number(usage.prompt_tokens), c: number(usage.cached_tokens ?? 0) }));
  if (model) parts.push(model);
  return el("span", { class: "facts tiny quiet num", title: at ? exactTime(at) : null }, parts.join(" · "));
}
