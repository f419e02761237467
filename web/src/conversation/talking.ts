// The larger half of the page's program: what follows an answer and shows it. Whoever writes a first message needs
// nothing of it yet, so it is fetched behind the page. Where it is gone since the gateway has another version of the page by
// now, the page is loaded anew: drafts, messages on their way and answers outlive that.

import { Problem } from "../client/problem.ts";
import { fetched, pageIsOld } from "../client/program.ts";

type Talking = typeof import("./talk.ts");

let there: Talking | null = null;
let coming: Promise<Talking> | null = null;

/** What is there by now. */
export const talkingNow = (): Talking | null => there;

/** Throws a Problem that may pass: who asks again has it fetched again. */
export function talking(): Promise<Talking> {
  coming ??= begun();
  return coming;
}

async function begun(): Promise<Talking> {
  try {
    there = await fetched(() => import("./talk.ts"));
    return there;
  } catch {
    coming = null;
    if (pageIsOld.snapshot()) location.reload();
    throw new Problem("", { code: "UNREACHABLE" });
  }
}
