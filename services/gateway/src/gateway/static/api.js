// The plain routes of the gateway. Every failure is a Problem, whose message is a sentence for a person.

import { signIn } from "./signing_in.js";

const BASE = "/api/chat";

export class Problem extends Error {
  /** `status` 0: no answer came. `retryAfterMs`: what the server asked for, or null. */
  constructor(message, { status = 0, code = "", retryAfterMs = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether the same request may succeed later. */
  get passing() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

/** Reads the Problem out of a response that is no success. Whoever is not known is sent to sign in. */
export async function problemOf(response) {
  if (response.status === 401) signIn();
  const body = await response.json().catch(() => ({}));
  const seconds = Number(response.headers.get("retry-after") ?? NaN);
  return new Problem(body.detail ?? `The server answered with an error (${response.status}).`, {
    status: response.status,
    code: body.code,
    retryAfterMs: Number.isFinite(seconds) ? seconds * 1000 : null,
  });
}

/** fetch(), with a Problem where no connection can be made. An abort stays an AbortError. */
export async function connect(url, options) {
  try {
    return await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The server cannot be reached.");
  }
}

async function request(method, path, { body, signal } = {}) {
  const options = { method, signal, cache: "no-store" };
  if (body !== undefined) {
    options.headers = { "content-type": "application/json" };
    options.body = JSON.stringify(body);
  }
  const response = await connect(BASE + path, options);
  if (!response.ok) throw await problemOf(response);
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The connection was lost.");
  }
}

const id = encodeURIComponent;

export const listSessions = (cursor) => request("GET", `/sessions${cursor ? `?cursor=${id(cursor)}` : ""}`);
export const createSession = (sessionId) => request("POST", "/sessions", { body: { id: sessionId } });
export const getTask = (taskId, signal) => request("GET", `/tasks/${id(taskId)}`, { signal });
export const cancelTask = (taskId) => request("POST", `/tasks/${id(taskId)}/cancel`);

export function getSession(sessionId, { beforeSequence, signal } = {}) {
  const query = beforeSequence === undefined ? "" : `?before_sequence=${beforeSequence}`;
  return request("GET", `/sessions/${id(sessionId)}${query}`, { signal });
}

/** Safe to send again: the message's id is the key under which a repeat is recognised. */
export const postMessage = (sessionId, messageId, text) =>
  request("POST", `/sessions/${id(sessionId)}/messages`, { body: { id: messageId, message: text } });

export const listTools = () => request("GET", "/tools");

/** 404: never asked for; 409: answered already; 410: no longer wanted. */
export const answerApproval = (taskId, toolCallId, approved, reason) =>
  request("POST", `/tasks/${id(taskId)}/approvals/${id(toolCallId)}`, {
    body: { approved, ...(reason && { reason }) },
  });
