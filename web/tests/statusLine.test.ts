// The line below a conversation: what it says of a turn, what it waits for, and when it falls silent.

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Problem } from "../src/client/problem.ts";
import { StatusLine } from "../src/conversation/statusLine.ts";
import { en } from "../src/words/en.ts";

const AGES_MS = 60_000;

function line() {
  mock.timers.enable({ apis: ["setInterval", "Date"] });
  const told: (string | null)[] = [];
  const turn = { stopping: false };
  const status = new StatusLine({
    get stopping() {
      return turn.stopping;
    },
    titleOf: (callId) => (callId === "before" ? "Clock" : undefined),
    show: (said) => told.push(said && said(en)),
  });
  return { status, told, turn, last: () => told.at(-1) };
}

test("a turn of which nothing comes is said to be there still, until its next word", (context) => {
  context.after(() => mock.timers.reset());
  const { status, last } = line();
  status.begin();
  assert.equal(last(), en.waitingForAnswer);
  mock.timers.tick(AGES_MS);
  assert.equal(last(), en.stillThere);
  status.heard({ type: "text-start" });
  assert.equal(last(), en.answering);
  mock.timers.tick(AGES_MS);
  assert.equal(last(), en.stillThere);
  status.heard({ type: "text-delta" });
  assert.equal(last(), en.answering);
});

test("while the connection is away that is said, and then again what was said before", (context) => {
  context.after(() => mock.timers.reset());
  const { status, turn, last } = line();
  status.begin();
  status.heard({ type: "reasoning-start" });
  const before = last();
  status.connection("lost", new Problem(""));
  assert.equal(last(), en.reconnecting(en.connectionLost));
  mock.timers.tick(AGES_MS);
  assert.equal(last(), en.reconnecting(en.connectionLost), "silence is not told over it");
  status.connection("open");
  assert.equal(last(), before);
  turn.stopping = true;
  status.connection("waiting", new Problem("", { code: "UNREACHABLE" }));
  assert.equal(last(), en.waits(en.unreachable));
  status.connection("open");
  assert.equal(last(), en.stopping);
});

test("silence says nothing over what the turn waits for", (context) => {
  context.after(() => mock.timers.reset());
  const { status, last } = line();
  status.begin();
  status.heard({ type: "tool-input-available", toolCallId: "c", toolName: "weather" });
  const waits = last();
  mock.timers.tick(AGES_MS);
  assert.equal(last(), waits);
});

test("of a turn that is being stopped nothing else is said", (context) => {
  context.after(() => mock.timers.reset());
  const { status, turn, told } = line();
  status.begin();
  turn.stopping = true;
  status.sayState();
  status.heard({ type: "text-start" });
  mock.timers.tick(AGES_MS);
  assert.deepEqual(told, [en.waitingForAnswer, en.stopping]);
});

test("once no turn runs, nothing looks for silence any more", (context) => {
  context.after(() => mock.timers.reset());
  const { status, told } = line();
  status.begin();
  status.end(null);
  mock.timers.tick(AGES_MS);
  assert.deepEqual(told, [en.waitingForAnswer, null]);
});

test("a call that its message had before the turn went on has its name", (context) => {
  context.after(() => mock.timers.reset());
  const { status, last } = line();
  status.begin();
  status.heard({ type: "tool-output-denied", toolCallId: "before" });
  assert.equal(last(), en.toolDenied("Clock"));
});
