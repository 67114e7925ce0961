// What every page has: theme, status line, shortcuts, the word that the session has ended.

import { signInAddress } from "./api.js";
import { may } from "./dom.js";
import "./shortcuts.js";
import "./status.js";
import { _ } from "./text.js";
import "./theme-switch.js";
import { toast } from "./toast.js";

let told = false;
document.addEventListener("box:signed-out", () => {
  if (told) return;
  told = true;
  toast(_("You are signed out. Nothing you typed is lost."), { action: { label: _("Sign in"), href: signInAddress() } });
});

for (const node of document.querySelectorAll("[data-needs]")) node.hidden = !may(node.dataset.needs);
