// The composer: grows, sends on Enter, keeps a draft per conversation until the box has the message.

const MOST_LINES_SHARE = 0.4; // of the window's height

export class Composer {
  constructor(form, { send, stop }) {
    this.form = form;
    this.input = form.querySelector("[data-prompt]");
    this.sendButton = form.querySelector("[data-send]");
    this.stopButton = form.querySelector("[data-stop]");
    this.key = "draft:new";
    this.busy = false;
    this.input.addEventListener("input", () => this.changed());
    this.input.addEventListener("keydown", (event) => this.pressed(event));
    this.stopButton.addEventListener("click", stop);
    form.addEventListener("submit", (event) => (event.preventDefault(), this.submit()));
    this.submitText = send;
  }

  /** Turn to a conversation (null for a new one): its draft comes back. */
  open(id) {
    this.key = `draft:${id ?? "new"}`;
    this.input.disabled = false;
    this.set(read(this.key));
  }

  /** There is nothing to write to. */
  close() {
    this.input.disabled = true;
  }

  /** The new conversation got its id; what is typed meanwhile moves along. */
  rename(id) {
    forget(this.key);
    this.key = `draft:${id}`;
    keep(this.key, this.input.value);
  }

  set(text) {
    this.input.value = text;
    this.changed();
  }

  /** While an answer is made: Stop in place of Send. */
  setBusy(busy) {
    this.busy = busy;
    this.stopButton.hidden = !busy;
    this.sendButton.hidden = busy;
    this.changed();
  }

  focus() {
    if (!matchMedia("(pointer: coarse)").matches) this.input.focus();
  }

  pressed(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.submit();
  }

  submit() {
    const text = this.input.value.trim();
    if (text && !this.busy && this.submitText(text)) this.set("");
  }

  changed() {
    keep(this.key, this.input.value);
    this.sendButton.disabled = this.busy || !this.input.value.trim();
    this.input.style.height = "auto";
    this.input.style.height = `${Math.min(this.input.scrollHeight + 2, innerHeight * MOST_LINES_SHARE)}px`;
  }
}

function read(key) {
  try {
    return sessionStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

function keep(key, text) {
  try {
    if (text) sessionStorage.setItem(key, text);
    else sessionStorage.removeItem(key);
  } catch {
    // no storage: the draft lives as long as the page
  }
}

const forget = (key) => keep(key, "");
