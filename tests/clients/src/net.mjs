// The network between a client and the gateway: what was asked, and connections that break when a test says so.

/** So many bytes of a stream get through, then it breaks ("error"), or ends as if that were all ("end"). */
export class Net {
  constructor({ headers = {} } = {}) {
    this.asked = [];
    this.cuts = [];
    this.headers = headers;
    this.fetch = this.fetch.bind(this);
  }

  /** The next stream breaks behind the first chunk that has this text in it. */
  cut(behind, how) {
    this.cuts.push({ behind, how });
  }

  posted(path) {
    return this.asked.filter(({ method, url }) => method === "POST" && url.endsWith(path));
  }

  async fetch(input, init = {}) {
    const url = String(input instanceof Request ? input.url : input);
    const method = init.method ?? "GET";
    const headers = new Headers(init.headers);
    for (const [name, value] of Object.entries(this.headers)) headers.set(name, value);
    const told = { method, url, body: typeof init.body === "string" ? JSON.parse(init.body) : null, status: 0 };
    this.asked.push(told);
    const response = await globalThis.fetch(input, { ...init, headers });
    told.status = response.status;
    told.headers = response.headers;
    const isStream = response.headers.get("content-type")?.startsWith("text/event-stream");
    if (!isStream || this.cuts.length === 0) return response;
    const { status } = response;
    return new Response(cutStream(response.body, this.cuts.shift()), { status, headers: response.headers });
  }
}

function cutStream(body, { behind, how }) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let seen = "";
  return new ReadableStream({
    async pull(controller) {
      const { value, done } = await reader.read();
      if (done) return controller.close();
      seen += decoder.decode(value, { stream: true });
      controller.enqueue(value);
      if (!seen.includes(behind)) return;
      void reader.cancel().catch(() => {});
      if (how === "end") controller.close();
      else controller.error(new TypeError("network error"));
    },
    cancel: (reason) => reader.cancel(reason),
  });
}
