// What is said while a turn is silent.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Silence } from "../src/conversation/silence.ts";

test("a silence is told once, taken back with the next word, and not told behind the end", (context) => {
  context.mock.timers.enable({ apis: ["setInterval"] });
  // Somebody sets the clock all the while.
  let days = 0;
  context.mock.method(Date, "now", () => (days += 1) * 86_400_000);
  const told: string[] = [];
  const silence = new Silence(() => told.push("silence"), () => told.push("word"));
  silence.begin();
  for (let second = 0; second < 30; second += 1) {
    context.mock.timers.tick(1_000);
    silence.heard();
  }
  assert.deepEqual(told, []);
  context.mock.timers.tick(30_000);
  assert.deepEqual(told, ["silence"]);
  silence.heard();
  silence.heard();
  assert.deepEqual(told, ["silence", "word"]);
  context.mock.timers.tick(10_000);
  assert.deepEqual(told, ["silence", "word", "silence"]);
  silence.end();
  context.mock.timers.tick(60_000);
  assert.equal(told.length, 3);
});
