// Every language says all of it: the type check sees a missing entry, and not a short list or a text left in English.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fetchWords, LANGUAGES, wordsIn } from "../src/words/words.ts";

// The same in both, or a sign.
const SHARED = new Set(["ltr", "Link", "Team", "Token"]);

const en = wordsIn("en");

/** Each text with the way to it; numbers and names stand for what a function is called with. */
function textsOf(entry: unknown, path: string): [string, string][] {
  if (typeof entry === "string") return [[path, entry]];
  if (typeof entry === "function") return [[path, String((entry as (...args: unknown[]) => unknown)(...Array(entry.length).fill(3)))]];
  return Object.entries(entry as object).flatMap(([name, value]) => textsOf(value, `${path}.${name}`));
}

for (const [language, name] of LANGUAGES) {
  if (language === "en") continue;
  test(`${language} has every text, and none of it in English`, async () => {
    assert.equal(wordsIn(language), en, "until it is there");
    await fetchWords(language);
    const words = wordsIn(language);
    assert.equal(words.language, name);
    const english = textsOf(en, "");
    const own = new Map(textsOf(words, ""));
    assert.deepEqual([...own.keys()].sort(), english.map(([path]) => path).sort());
    const isKeyName = (path: string) => /^\.keys\.\d+\.0$/.test(path);
    const left = english.filter(([path, text]) => own.get(path) === text && !isKeyName(path) && !SHARED.has(text));
    assert.deepEqual(left, []);
  });
}
