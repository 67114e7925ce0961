// Calls to the HTTP API of this origin.

import { _ } from "./text.js";

const SAFE = new Set(["GET", "HEAD"]);

/** A refusal or a failure: `message` is a sentence for people, `code` is for programs, status 0 means no answer. */
export class ApiError extends Error {
  constructor(message, { status = 0, code = "network", retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { status, code, retryAfter });
  }
}

/** The header that proves a change comes from our own page. */
export function csrfToken() {
  return document.querySelector('meta[name="csrf-token"]')?.content ?? "";
}

/** Where to sign in and come back from. */
export function signInAddress() {
  return `/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`;
}

/** Turn an answer that is not a success into an `ApiError`; says so once when the session has ended. */
export function refusal(status, body, retryAfter = null) {
  if (status === 401) document.dispatchEvent(new CustomEvent("box:signed-out"));
  const message = body?.error || _("The box answered with an error ({status}).", { status });
  return new ApiError(message, { status, code: body?.code ?? "request.failed", retryAfter });
}

/** Send a request and return the parsed answer; throws `ApiError`. */
export async function api(method, path, { body, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (!SAFE.has(method)) headers["X-CSRFToken"] = csrfToken();
  let response;
  try {
    response = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(_("The box is not reachable. Check that it runs and that you are connected to it."));
  }
  const data = await response.json().catch(() => null);
  if (!response.ok) throw refusal(response.status, data, response.headers.get("Retry-After"));
  return data;
}

export const get = (path, options) => api("GET", path, options);
export const post = (path, body = {}, options = {}) => api("POST", path, { body, ...options });
export const patch = (path, body) => api("PATCH", path, { body });
export const remove = (path) => api("DELETE", path);
