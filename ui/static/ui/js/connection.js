// The word on the connection in the head of a conversation; nothing while all is well.

import { signInAddress } from "./api.js";
import { el, icon } from "./dom.js";
import { _ } from "./text.js";

const WORDS = {
  waiting: (seconds) => _("Connection lost; trying again in {n} s", { n: Math.ceil(seconds) }),
  missing: () => _("This conversation is gone"),
  forbidden: () => _("Your account may not chat"),
};

/** Show a socket's state in `badge`. */
export function showConnection(badge, state, seconds) {
  if (state === "connecting" && !badge.hidden) return; // the word stays until it is better
  const signedOut = state === "signed-out";
  const words = signedOut ? el("a", { href: signInAddress() }, _("Signed out: sign in")) : WORDS[state]?.(seconds);
  badge.hidden = !words;
  badge.replaceChildren(icon("unplug"), words ?? "");
  if (signedOut) document.dispatchEvent(new CustomEvent("box:signed-out"));
}
