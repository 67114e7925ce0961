// On narrow screens the list of conversations is a drawer.

import { shortcut } from "./shortcuts.js";
import { _ } from "./text.js";

export class Drawer {
  constructor(root, focused) {
    Object.assign(this, { root, focused, opener: root.querySelector("[data-drawer-open]") });
    this.opener.addEventListener("click", () => this.set(true));
    for (const node of root.querySelectorAll("[data-drawer-close]")) node.addEventListener("click", () => this.set(false));
    shortcut(["Esc"], _("Close the list"), (event) => event.key === "Escape" && this.isOpen, () => this.set(false));
  }

  get isOpen() {
    return this.root.classList.contains("drawer");
  }

  set(open) {
    const was = this.isOpen;
    this.root.classList.toggle("drawer", open);
    this.root.querySelector(".backdrop").hidden = !open;
    this.opener.setAttribute("aria-expanded", String(open));
    if (open) this.focused.focus();
    else if (was) this.opener.focus();
  }
}
