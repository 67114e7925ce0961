// A websocket that comes back: back-off with jitter, at once when the network or the tab returns.

const FIRST_MS = 400;
const MOST_MS = 15_000;
const STEADY_MS = 5000;
// close codes from 4400 on are refusals that trying again does not change
const REFUSED = { 4401: "signed-out", 4403: "forbidden", 4404: "missing" };

/**
 * Keep a connection to `path()` open. Handlers: message(data), open(), state("connecting" | "open" | "waiting" |
 * "signed-out" | "forbidden" | "missing" | "closed", secondsUntilRetry).
 */
export class Socket {
  constructor(path, handlers) {
    Object.assign(this, { path, handlers, attempts: 0, timer: 0, socket: null, ended: false, openedAt: 0 });
    this.wake = () => this.timer && !document.hidden && this.connect();
    addEventListener("online", this.wake);
    document.addEventListener("visibilitychange", this.wake);
    this.connect();
  }

  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  /** Send one message; false when there is no connection. */
  send(message) {
    if (!this.isOpen) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  connect() {
    clearTimeout(this.timer);
    this.timer = 0;
    if (this.ended || (this.socket && this.socket.readyState <= WebSocket.OPEN)) return;
    const address = new URL(this.path(), location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = (this.socket = new WebSocket(address));
    this.tell("connecting");
    socket.addEventListener("open", () => this.opened(socket));
    socket.addEventListener("message", (event) => socket === this.socket && this.handlers.message(JSON.parse(event.data)));
    socket.addEventListener("close", (event) => socket === this.socket && this.closed(event.code));
  }

  opened(socket) {
    if (socket !== this.socket) return;
    this.openedAt = Date.now();
    this.tell("open");
    this.handlers.open?.();
  }

  closed(code) {
    if (this.ended) return;
    if (REFUSED[code]) return this.stop(REFUSED[code]);
    if (this.openedAt && Date.now() - this.openedAt > STEADY_MS) this.attempts = 0;
    this.openedAt = 0;
    const most = Math.min(MOST_MS, FIRST_MS * 2 ** this.attempts);
    const wait = most / 2 + Math.random() * (most / 2);
    this.attempts += 1;
    this.timer = setTimeout(() => this.connect(), wait);
    this.tell("waiting", wait / 1000);
  }

  stop(state = "closed") {
    this.ended = true;
    clearTimeout(this.timer);
    removeEventListener("online", this.wake);
    document.removeEventListener("visibilitychange", this.wake);
    this.tell(state);
    this.socket?.close();
  }

  tell(state, seconds = 0) {
    this.handlers.state?.(state, seconds);
  }
}
