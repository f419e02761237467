// A result is shown as it is stored: its rows do not change places when the answer has ended.

import assert from "node:assert/strict";
import { test } from "node:test";
import { plainResult } from "../src/message/toolState.ts";

test("a result that has just come has the order that it is stored in", () => {
  const stored = [["at", "1"], ["facts", "2"], ["named", "3"], ["remembered", "4"]];
  assert.deepEqual(plainResult({ remembered: "4", named: 3, at: 1, facts: 2 }), stored);
  assert.deepEqual(plainResult({ at: 1, facts: 2, named: 3, remembered: "4" }), stored);
});
