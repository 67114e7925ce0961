// Sets the theme before the first paint; blocking on purpose. The same key as Django admin's own switch.
"use strict";
(() => {
  let theme = "auto";
  try {
    theme = localStorage.getItem("theme") || "auto";
  } catch {
    // no storage: the system decides
  }
  document.documentElement.dataset.theme = theme;
})();
