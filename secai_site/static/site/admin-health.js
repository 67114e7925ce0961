// The health card of the admin's first page.

const card = document.querySelector("[data-health]");

function show(state, text, version = "") {
  card.classList.remove("ok", "bad");
  card.classList.add(state);
  card.querySelector("[data-value]").textContent = text;
  card.querySelector("[data-version]").textContent = version;
}

async function look() {
  const words = card.dataset;
  try {
    const response = await fetch("/health", { headers: { Accept: "application/json" } });
    const body = await response.json();
    if (response.ok) show("ok", words.wordsOk, `${body.service} ${body.version}`);
    else show("bad", words.wordsFailing + (body.failing ?? response.status), body.version ?? "");
  } catch {
    show("bad", words.wordsDown);
  }
}

if (card) {
  void look();
  setInterval(() => document.hidden || void look(), 15_000);
}
