// What the server has: the truth that a screen is compared with.

import { until } from "./waiting.mjs";

export class Server {
  constructor(base, headers = {}) {
    this.base = base;
    this.headers = headers;
  }

  async get(path) {
    const response = await fetch(`${this.base}${path}`, { headers: this.headers });
    return response.status === 200 ? await response.json() : null;
  }

  async history(id) {
    const session = await this.get(`/api/chat/sessions/${id}`);
    return (session?.messages ?? []).map(({ id, role, parts }) => ({ id, role, parts }));
  }

  /** Until no turn of the session runs. */
  ended(id) {
    return until(async () => {
      const session = await this.get(`/api/chat/sessions/${id}`);
      return session && session.active_task === null;
    }, `no turn of ${id} runs`);
  }

  post(path, body = {}) {
    const headers = { "content-type": "application/json", ...this.headers };
    return fetch(`${this.base}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  }
}

export const textOf = ({ parts }) => parts.map((part) => (part.type === "text" ? part.text : "")).join("");

/** Roles, ids and texts of what is to be seen: an answer that broke off before its first word is not. */
export const seen = (messages) => messages.filter(textOf).map((message) => ({ id: message.id, role: message.role, text: textOf(message) }));
