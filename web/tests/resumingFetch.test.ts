// The SDK's own transport over the fetch that resumes, against a server that breaks connections.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, beforeEach, mock, test } from "node:test";
import { AbstractChat, DefaultChatTransport, type ChatState, type ChatStatus, type UIMessage } from "ai";
import { resumingFetch, streamUrlOf } from "../src/client/resumingFetch.ts";

const CHUNKS = [
  { type: "start", messageId: "answer-1" },
  { type: "start-step" },
  { type: "text-start", id: "t" },
  ...[..."Water flows through a gate."].map((delta) => ({ type: "text-delta", id: "t", delta })),
  { type: "text-end", id: "t" },
  { type: "finish-step" },
  { type: "finish", finishReason: "stop" },
];
const WHOLE = "Water flows through a gate.";
const RETRY_MS = 700;

class State implements ChatState<UIMessage> {
  status: ChatStatus = "ready";
  error: Error | undefined = undefined;
  messages: UIMessage[] = [];
  pushMessage = (message: UIMessage) => void this.messages.push(message);
  popMessage = () => void this.messages.pop();
  replaceMessage = (index: number, message: UIMessage) => void (this.messages[index] = message);
  snapshot = <T>(value: T): T => structuredClone(value);
}

class Chat extends AbstractChat<UIMessage> {}

/** What each connection does, in turn: so many chunks and then a cut, a refusal, or everything. */
type Plan = { cutAfter: number } | { refuse: number; code?: string; after?: string } | { drop: true } | { error: string } | "portal" | "whole" | "silent";

let server: Server;
let base: string;
let plans: Plan[];
let asked: { method: string; url: string; cursor: string | undefined; body: string; headers: IncomingMessage["headers"] }[];
let closed: Promise<unknown>;

before(async () => {
  server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/chat`;
});
after(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  plans = [];
  asked = [];
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  let body = "";
  for await (const piece of request) body += piece;
  const cursor = request.headers["last-event-id"] as string | undefined;
  asked.push({ method: request.method!, url: request.url!, cursor, body, headers: request.headers });
  closed = once(response, "close");
  const plan = plans.shift() ?? "whole";
  if (typeof plan === "object" && "drop" in plan) return void response.destroy();
  if (typeof plan === "object" && "refuse" in plan) {
    // As the gateway says it to who does not name JSON: to whoever posts, and not on a turn's own stream.
    const isPlain = request.method === "POST";
    const type = isPlain ? { "content-type": "text/plain; charset=utf-8", ...(plan.code && { "x-error-code": plan.code }) } : { "content-type": "application/problem+json" };
    response.writeHead(plan.refuse, { ...type, ...(plan.after && { "retry-after": plan.after }) });
    return void response.end(isPlain ? "No." : JSON.stringify({ detail: "No.", code: plan.code }));
  }
  if (plan === "portal") return void response.writeHead(200, { "content-type": "text/html" }).end("<p>Sign in to this network");
  response.writeHead(200, { "content-type": "text/event-stream", ...(request.method === "POST" && { "x-workflow-run-id": "task_1" }) });
  const first = cursor ? Number(cursor.split("-")[1]) + 1 : 0;
  const last = typeof plan === "object" && "cutAfter" in plan ? first + plan.cutAfter : CHUNKS.length;
  if (plan === "silent") return void response.write(": keep-alive\n\n");
  response.write(`retry: ${RETRY_MS}\n: keep-alive\n`);
  if (typeof plan === "object" && "error" in plan) return void response.write(`data: ${JSON.stringify({ type: "error", errorText: plan.error })}\n\n`, () => response.destroy());
  for (const [n, chunk] of CHUNKS.entries()) if (n >= first && n < last) response.write(`id: 1-${n}\ndata: ${JSON.stringify(chunk)}\n\n`);
  if (plan === "whole") return void response.end("data: [DONE]\n\n");
  // Half an event, and then the connection is gone.
  response.write('id: 1-99\ndata: {"type":"text-del', () => response.destroy());
}

function chat(options: Parameters<typeof resumingFetch>[0] = {}): { chat: Chat; state: State; errors: Error[] } {
  const state = new State();
  const errors: Error[] = [];
  const transport = new DefaultChatTransport({ api: base, fetch: resumingFetch(options) });
  return { chat: new Chat({ id: "c", transport, state, onError: (error) => errors.push(error) }), state, errors };
}

const said = (state: State): string => state.messages.at(-1)!.parts.map((part) => (part.type === "text" ? part.text : "")).join("");

test("an answer is whole, once and in order, over connections that break anywhere", async () => {
  for (const cut of [0, 1, 3, 7, CHUNKS.length - 1]) {
    plans = [{ cutAfter: cut }, { cutAfter: 5 }, { refuse: 503 }, cut % 2 ? "portal" : { drop: true }, "whole"];
    const { chat: one, state, errors } = chat();
    await one.sendMessage({ text: "hello" });
    assert.deepEqual(errors, []);
    assert.equal(said(state), WHOLE);
    assert.equal(state.status, "ready");
    assert.equal(state.messages.length, 2);
  }
});

test("it follows the run, behind the last event that came", async () => {
  plans = [{ cutAfter: 7 }, "whole"];
  await chat().chat.sendMessage({ text: "hello" });
  assert.deepEqual(
    asked.map(({ method, url, cursor }) => ({ method, url, cursor })),
    [
      { method: "POST", url: "/api/chat", cursor: undefined },
      { method: "GET", url: "/api/chat/tasks/task_1/stream", cursor: "1-6" },
    ],
  );
});

test("a cut behind the terminal chunk is an end", async () => {
  plans = [{ cutAfter: CHUNKS.length }];
  const { chat: one, state, errors } = chat();
  await one.sendMessage({ text: "hello" });
  assert.deepEqual(errors, []);
  assert.equal(said(state), WHOLE);
  assert.equal(asked.length, 1);
});

test("a message that meets no answer is posted again, with the same id", async () => {
  const soon = new Date(Date.now() + 1000).toUTCString();
  plans = [{ drop: true }, "portal", { refuse: 503, after: soon }, { refuse: 429, after: "1" }, "whole"];
  const { chat: one, state } = chat();
  await one.sendMessage({ text: "hello" });
  assert.equal(said(state), WHOLE);
  assert.equal(new Set(asked.map(({ body }) => body)).size, 1);
  assert.equal(asked.length, 5);
});

test("after so many tries it is told that nobody is there", async () => {
  const sentences = [];
  for (const plan of [{ drop: true }, { refuse: 503 }] as const) {
    plans = [plan, plan];
    const { chat: one, state, errors } = chat({ tries: 2 });
    await one.sendMessage({ text: "hello" });
    assert.equal(state.status, "error");
    sentences.push(...errors.map(({ message }) => message));
  }
  assert.deepEqual(sentences, ["The server cannot be reached.", "No."]);
  assert.equal(asked.length, 4);
});

test("a refusal for long, and one that says no time, are told at once", async () => {
  for (const refusal of [{ refuse: 429, after: "600" }, { refuse: 429 }]) {
    plans = [refusal];
    const { chat: one, errors } = chat();
    await one.sendMessage({ text: "hello" });
    assert.equal(errors.length, 1);
  }
  assert.equal(asked.length, 2);
});

test("an answer that is to be made again is asked for once", async () => {
  plans = ["whole", { drop: true }];
  const { chat: one, errors } = chat();
  await one.sendMessage({ text: "hello" });
  await one.regenerate();
  assert.equal(errors.length, 1);
  assert.equal(asked.length, 2);
});

test("where the server no longer has what comes next, half an answer never looks whole", async () => {
  for (const refusal of [{ refuse: 410, code: "STREAM_TRUNCATED" }, { refuse: 404, code: "TASK_NOT_FOUND" }, { refuse: 204, code: "STREAM_GONE" }]) {
    plans = [{ cutAfter: 7 }, refusal];
    const { chat: one, state, errors } = chat();
    await one.sendMessage({ text: "hello" });
    assert.equal(state.status, "error");
    assert.equal((errors[0] as Error & { code: string }).code, refusal.code);
  }
});

test("a connection on which nothing comes is a broken one", async () => {
  plans = ["silent", "whole"];
  const { chat: one, state } = chat({ silenceMs: 200 });
  await one.sendMessage({ text: "hello" });
  assert.equal(said(state), WHOLE);
});

test("a turn that failed has ended, whatever becomes of its connection", async () => {
  plans = [{ cutAfter: 7 }, { error: "The model is away." }];
  const { chat: one, errors } = chat();
  await one.sendMessage({ text: "hello" });
  assert.deepEqual(
    errors.map(({ message }) => message),
    ["The model is away."],
  );
  assert.equal(asked.length, 2);
});

test("who comes back is known by the same headers and cookies, and says nothing of a body that he does not send", async () => {
  plans = [{ cutAfter: 7 }, "whole"];
  const credentials: unknown[] = [];
  const fetch = resumingFetch({ fetch: (input, init) => (credentials.push(init?.credentials), globalThis.fetch(input, init)) });
  const transport = new DefaultChatTransport({ api: base, fetch, credentials: "include", headers: { authorization: "Bearer ada" } });
  const state = new State();
  await new Chat({ id: "c", transport, state }).sendMessage({ text: "hello" });
  assert.equal(said(state), WHOLE);
  assert.deepEqual(credentials, ["include", "include"]);
  assert.deepEqual(
    asked.map(({ headers }) => [headers.authorization, headers["content-type"]]),
    [["Bearer ada", "application/json"], ["Bearer ada", undefined]],
  );
});

test("a page that a network answers with is no connection", async () => {
  plans = [{ cutAfter: 7 }, "portal", "whole"];
  const states: string[] = [];
  await chat({ onState: (state) => void states.push(state) }).chat.sendMessage({ text: "hello" });
  assert.deepEqual(states, ["open", "lost", "lost", "open"]);
});

/** The pauses that are made meanwhile, all of them without jitter, and over at once. `during` sees each before it begins. */
async function pausesOf(run: () => Promise<unknown>, during: (ms: number) => void = () => {}): Promise<number[]> {
  const { setTimeout: real } = globalThis;
  const pauses: number[] = [];
  mock.method(Math, "random", () => 1);
  mock.method(globalThis, "setTimeout", (wake: () => void, ms: number, ...more: unknown[]) => {
    // Node's own fetch has timers, too.
    if (!new Error().stack!.includes("client/waiting.ts")) return real(wake, ms, ...more);
    pauses.push(ms);
    during(ms);
    return real(wake, 0);
  });
  try {
    await run();
  } finally {
    mock.restoreAll();
  }
  return pauses;
}

test("it comes back as soon as the server says, later each time, and as at first where something came", async () => {
  plans = [{ cutAfter: 7 }, { drop: true }, { drop: true }, { cutAfter: 5 }, "whole"];
  const { chat: one, state } = chat();
  assert.deepEqual(await pausesOf(() => one.sendMessage({ text: "hello" })), [RETRY_MS, 2 * RETRY_MS, 4 * RETRY_MS, RETRY_MS]);
  assert.equal(said(state), WHOLE);
});

test("a server that names a time is left alone until then", async () => {
  plans = [{ refuse: 503, after: "2" }, { cutAfter: 7 }, { refuse: 503, after: "3" }, "whole"];
  const { chat: one, state } = chat();
  assert.deepEqual(await pausesOf(() => one.sendMessage({ text: "hello" })), [2500, RETRY_MS, 3000, 2 * RETRY_MS]);
  assert.equal(said(state), WHOLE);
});

test("without a network nothing is asked, and no try counts", async () => {
  const online = (value: boolean) => Object.defineProperty(globalThis.navigator, "onLine", { value, configurable: true });
  const isBack = (ms: number) => void (ms === 15_000 && online(true));
  try {
    online(false);
    plans = [{ drop: true }, "whole"];
    const { chat: one, state } = chat({ tries: 1 });
    assert.deepEqual(await pausesOf(() => one.sendMessage({ text: "hello" }), isBack), [15_000, 500]);
    assert.equal(said(state), WHOLE);
    plans = [{ cutAfter: 7 }, "whole"];
    const { chat: other, state: later } = chat({ onState: (state) => void online(state !== "lost") });
    assert.deepEqual(await pausesOf(() => other.sendMessage({ text: "hello" }), isBack), [15_000, RETRY_MS]);
    assert.equal(said(later), WHOLE);
  } finally {
    Reflect.deleteProperty(globalThis.navigator, "onLine");
  }
});

test("who reads no more holds no connection", async () => {
  plans = ["silent"];
  const response = await resumingFetch()(base, { method: "POST", body: "{}" });
  const reader = response.body!.getReader();
  await reader.read();
  await reader.cancel();
  await closed;
});

test("what is stopped stays stopped", async () => {
  plans = [{ cutAfter: 7 }, "silent"];
  const { chat: one, state } = chat();
  const sending = one.sendMessage({ text: "hello" });
  while (asked.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
  await one.stop();
  await sending;
  assert.equal(state.status, "ready");
  assert.equal(asked.length, 2);
});

test("what is stopped while it comes back asks no more", async () => {
  plans = [{ cutAfter: 7 }];
  const stopping = new AbortController();
  let asks = 0;
  const fetch: typeof globalThis.fetch = (input, init) => {
    asks += 1;
    if (asks === 2) stopping.abort();
    return globalThis.fetch(input, asks > 3 ? { ...init, signal: null } : init);
  };
  const response = await resumingFetch({ fetch })(base, { method: "POST", body: "{}", signal: stopping.signal });
  await assert.rejects(response.text(), { name: "AbortError" });
  assert.equal(asks, 2);
});

test("the address of a run, from every address that begins one", () => {
  assert.equal(streamUrlOf("/api/chat", "r"), "/api/chat/tasks/r/stream");
  assert.equal(streamUrlOf("/api/chat?protocol=7", "r"), "/api/chat/tasks/r/stream?protocol=7");
  assert.equal(streamUrlOf("https://a.example/api/chat/c1/stream", "r"), "https://a.example/api/chat/tasks/r/stream");
  assert.equal(streamUrlOf("/api/chat/tasks/t/stream", null), "/api/chat/tasks/t/stream");
  assert.equal(streamUrlOf("/api/chat", null), null);
});
