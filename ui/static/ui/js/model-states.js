// What a row of the models page is: its state and its use in words, its group, whether it is still moving.

import { _ } from "./text.js";

/** Status → icon, tone, word. */
export const STATES = {
  promoted: ["shield-check", "ok", _("Checked")],
  waiting: ["hourglass", "", _("Waiting for its check")],
  scanning: ["loader-circle", "", _("Being checked")],
  refused: ["shield-x", "bad", _("Refused")],
  held: ["shield-alert", "warn", _("Passed, waits for you")],
  failed: ["shield-x", "bad", _("Out of use")],
  downloading: ["download", "", _("Downloading")],
  paused: ["pause", "warn", _("Paused")],
  download_failed: ["circle-alert", "bad", _("Download failed")],
};

const UNKNOWN = (status) => ["circle-question-mark", "warn", String(status)];
export const stateOf = ({ status }) => STATES[status] ?? UNKNOWN(status);

const USES = {
  chat: ["message-square-text", _("Chat")],
  completion: ["scroll-text", _("Completion only (no chat template)")],
  embedding: ["search", _("Embeddings")],
  pictures: ["image", _("Pictures")],
  weights: ["box", _("Weights (nothing here runs them)")],
};

/** What it is for, as icon and words; null as long as nobody knows. */
export const useOf = ({ purpose }) => USES[purpose] ?? null;

/** Whether the engine of this box can bring it into memory. */
export const isLoadable = ({ purpose, format }) => (purpose ? ["chat", "completion"].includes(purpose) : format === "gguf");

/** Whether one can chat with it. */
export const canChat = ({ purpose, chat }) => (purpose ? purpose === "chat" : chat !== false);

export const isQueued = ({ status }) => status === "waiting" || status === "scanning";
export const isDownload = ({ download }) => Boolean(download);

/** The group of the list that it stands in: `way`, `ready` or `refused`. */
export function groupOf({ status }) {
  if (status === "promoted") return "ready";
  return ["refused", "failed", "download_failed"].includes(status) ? "refused" : "way";
}

/** The key under which a card is kept between updates. */
export function keyOf(model) {
  if (model.download) return `d:${model.download.id}`;
  return model.id ? `q:${model.id}` : `m:${model.name}`;
}

/** How many files are checked before each waiting one, by its key; the list comes newest first. */
export function placesOf(models) {
  const queue = models.filter(isQueued).reverse();
  queue.sort((a, b) => Number(b.status === "scanning") - Number(a.status === "scanning"));
  return new Map(queue.map((model, at) => [keyOf(model), at]));
}
