// What is read aloud of answers that come.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Window } from "happy-dom";
import { Reader } from "../src/conversation/reader.ts";

const { document, CSS } = new Window();
Object.assign(globalThis, { CSS });

const answer = (id: string, ...blocks: string[]): string =>
  `<article class="assistant" data-message-id="${id}"><div class="body"><div class="text">${blocks.map((one) => `<p>${one}</p>`).join("")}</div></div></article>`;

function reading(before: string): { shows: (html: string) => void; reader: Reader } {
  const log = document.createElement("div") as unknown as HTMLElement;
  const shows = (html: string) => (log.innerHTML = `<div id="messages">${html}</div>`);
  shows(before);
  return { shows, reader: new Reader(() => log, "It") };
}

test("each block is read once, when the next one has begun, and what was there before is not", () => {
  const old = answer("a", "old", "older");
  const { shows, reader } = reading(old);
  const heard = [reader.look(false)];
  for (const blocks of [["on"], ["one", "tw"], ["one", "two", "three"]]) {
    shows(old + answer("b", ...blocks));
    heard.push(reader.look(false));
  }
  heard.push(reader.look(true), reader.look(true));
  assert.deepEqual(heard, ["", "", "It: one", "two", "three", ""]);
});

test("of an answer that another one follows at once nothing is lost", () => {
  const { shows, reader } = reading("");
  shows(answer("a", "one", "two"));
  assert.equal(reader.look(false), "It: one");
  shows(answer("a", "one", "two", "three") + answer("b", "fo"));
  assert.equal(reader.look(false), "two\nthree");
  assert.equal(reader.look(true), "It: fo");
});

test("what is said of an answer's end is read with it", () => {
  const { shows, reader } = reading("");
  shows(answer("a", "half").replace("</article>", '<div class="ending"><p class="notice failure">It failed.</p></div></article>'));
  assert.equal(reader.look(false), "");
  assert.equal(reader.look(true), "It: half\nIt failed.");
  const stopped = reading("");
  stopped.shows('<article class="user" data-message-id="q"><p class="notice">It was not answered.</p></article>');
  assert.equal(stopped.reader.look(true), "It was not answered.");
});

test("a turn without an answer has nothing read, and a very long block its beginning", () => {
  const old = answer("a", "old");
  const { shows, reader } = reading(old);
  assert.equal(reader.look(true), "");
  shows(old + answer("b", "x".repeat(5_000)));
  const said = reader.look(true);
  assert.ok(said.endsWith("x…") && said.length < 1_300);
});
