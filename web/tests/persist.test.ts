// Requests that are made again.

import assert from "node:assert/strict";
import { test } from "node:test";
import { persist } from "../src/client/api.ts";
import { Problem } from "../src/client/problem.ts";

/** Fails so often in this way before it succeeds. */
function failing(times: number, status: number): () => Promise<string> {
  let tries = 0;
  return async () => {
    tries += 1;
    if (tries <= times) throw new Problem("", { status });
    return "done";
  };
}

test("a request gives up after so many tries, and a patient one waits for a server that is away", async (context) => {
  context.mock.method(Math, "random", () => 0);
  const how = { onWait: () => {}, tries: 3 };
  assert.equal(await persist(failing(2, 0), how), "done");
  await assert.rejects(persist(failing(3, 0), how));
  assert.equal(await persist(failing(30, 0), { ...how, patient: true }), "done");
  await assert.rejects(persist(failing(3, 503), { ...how, patient: true }));
});
