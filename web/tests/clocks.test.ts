// The browser's clock may be days off, and be set while the page is open: what the server knows does not hang on it.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Session } from "../src/client/api.ts";
import { retryAfterMs } from "../src/client/problem.ts";
import { noteTime } from "../src/client/serverClock.ts";
import { grouped } from "../src/sidebar/sessions.ts";
import { wordsIn } from "../src/words/words.ts";

const HOUR_MS = 3_600_000;
const NOON = new Date(2026, 10, 28, 12).getTime();
const answer = (headers: Record<string, string> = {}) => new Response(null, { headers: { date: new Date(NOON).toUTCString(), ...headers } });

for (const days of [-3, 0, 3]) {
  test(`${days} days off, the list has the server's days, and a wait lasts as long as it says`, (context) => {
    Object.assign(globalThis, { document: { documentElement: { lang: "en" } } });
    context.mock.timers.enable({ apis: ["Date"], now: NOON + days * 24 * HOUR_MS });
    noteTime(answer());
    const said = (id: string, hoursAgo: number): Session => ({ id, title: id, created_at: "", updated_at: new Date(NOON - hoursAgo * HOUR_MS).toISOString() });
    const sessions = [said("now", 1), said("yesterday", 24), said("lately", 4 * 24), said("once", 30 * 24)];
    const shown = grouped({ sessions, pinned: [], hasMore: false, loaded: true }, wordsIn("en")).map(([name, group]) => [name, group.map(({ id }) => id)]);
    assert.deepEqual(shown, [["Today", ["now"]], ["Yesterday", ["yesterday"]], ["Previous 7 days", ["lately"]], ["Earlier", ["once"]]]);
    const wait = retryAfterMs(answer({ "retry-after": new Date(NOON + 20_000).toUTCString() }));
    assert.ok(wait > 15_000 && wait <= 20_000, `${wait}`);
  });
}
