// What is done to markdown before it is rendered.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Splitter } from "../src/markdown/blocks.ts";
import { plugins } from "../src/markdown/highlight.ts";
import { prepared } from "../src/markdown/prepared.ts";
import { resolved } from "../src/markdown/references.ts";

const TICKS = "`".repeat(3);
const TEXT = [
  "# Heading",
  "A paragraph\nof two lines.",
  "- a list\n\n  with a paragraph\n- and more",
  `${TICKS}regex\n${TICKS}[^x]*\\|b ${TICKS}\nstill code\n\n${TICKS}`,
  "| a | b |\n|---|---|\n| 1 | 2 |",
  "$$\nx = 1\n\ny = 2\n$$",
  "> quoted\nlazily",
  "The end.",
].join("\n\n");

const LIST = Array.from({ length: 61 }, (_, n) => `- item ${n}`).join("\n");
const LOOSE = Array.from({ length: 45 }, (_, n) => `${n + 1}. item ${n}\n\n   and more`).join("\n\n");

const sources = (text: string, splitter = new Splitter()): string[] => splitter.split(text).map((block) => block.source);

test("blocks are the whole text, whatever it is", () => {
  for (const text of [TEXT, "", "\n\n", "a\r\nb\r\n\r\nc", "\tcode\n\n\tmore", "a\u0000b", "- [ ] x\n1. y\n"]) {
    assert.equal(sources(text).join(""), text);
  }
});

test("a text that grows has at each length the blocks that it has when it is read at once", () => {
  for (const text of [TEXT, LIST, `${LIST}\n\nBehind it.`]) {
    const growing = new Splitter();
    for (let length = 0; length <= text.length; length += 1) {
      const begun = text.slice(0, length);
      assert.deepEqual(sources(begun, growing), sources(begun), begun);
    }
  }
});

test("of a text that grows nothing is lost at any length", () => {
  const growing = new Splitter();
  for (let length = 0; length <= LOOSE.length; length += 1) assert.equal(sources(LOOSE.slice(0, length), growing).join(""), LOOSE.slice(0, length));
});

test("of a long list only the last piece is rendered again", () => {
  const splitter = new Splitter();
  const before = splitter.split(LIST);
  assert.equal(before.length, 4);
  const then = splitter.split(`${LIST} and so on`);
  assert.deepEqual([0, 1, 2].map((n) => then[n] === before[n]), [true, true, true]);
});

test("what stood before the last block stays the same object", () => {
  const splitter = new Splitter();
  const before = splitter.split("one\n\ntwo\n\nthr");
  const then = splitter.split("one\n\ntwo\n\nthree");
  assert.equal(then[0], before[0]);
  assert.equal(then[1], before[1]);
});

test("a fence is closed only by a line with nothing behind it", () => {
  const code = `${TICKS}regex\n${TICKS}[^x]*\\|b ${TICKS}\nstill code\n${TICKS}\n`;
  assert.deepEqual(new Splitter().split(code), [{ source: code, code: true, defines: false }]);
});

test("a formula with an empty line in it stays one block", () => {
  assert.equal(sources("$$\nx = 1\n\ny = 2\n$$\n\nbehind").length, 2);
});

const ready = (source: string, { code = false, open = false } = {}): string => prepared({ source, code }, open);

test("TeX between the signs that models write is maths, and money is not", () => {
  assert.equal(ready("so $x^2$ and \\(y\\)"), "so $$x^2$$ and $$y$$");
  assert.equal(ready("\\[ z \\]"), "\n$$\nz\n$$\n");
  assert.equal(ready("it is $5 and $6, or US$ 7"), "it is $5 and $6, or US$ 7");
});

test("a formula that has its line to itself stands by itself, with its signs on that line, too", () => {
  assert.equal(ready("so:\n$$x^2$$\nwhich"), "so:\n$$\nx^2\n$$\nwhich");
  assert.equal(ready("- so\n  $$x^2$$"), "- so\n  $$\n  x^2\n  $$");
  assert.equal(ready("and $$x^2$$ is"), "and $$x^2$$ is");
});

test("in code nothing is maths", () => {
  assert.equal(ready("`$x^2$` and $x^2$"), "`$x^2$` and $$x^2$$");
  assert.equal(ready("$x^2$", { code: true }), "$x^2$");
});

test("what breaks off within a word in bold is bold while it grows", () => {
  assert.equal(ready("a **bol", { open: true }), "a **bol**");
  assert.equal(ready("a **bol"), "a **bol");
});

test("a block is given what it names: the numbers of its footnotes, and where its links lead", () => {
  const text = "One[^a], two[^b], none[^c], `[^a]`, [the law][law].\n\n" + `${TICKS}\n[^a]\n${TICKS}` + "\n\n[^b]: Its proof,\n    and more.\n[^a]: Said by Ann.\n\n[law]: https://example.org/law";
  const found = resolved(new Splitter().split(text));
  assert.deepEqual(found.map(({ source }) => source.trim()), [
    "One[2](#note-2), two[1](#note-1), none[^c], `[^a]`, [the law][law].",
    `${TICKS}\n[^a]\n${TICKS}`,
    "1. [](#noted-1) Its proof,\n    and more.\n2. [](#noted-2) Said by Ann.",
    "[law]: https://example.org/law",
  ]);
  assert.equal(found[0]!.links.trim(), "[law]: https://example.org/law");
});

test("of a text that grows what names nothing stays as it is when a footnote comes", () => {
  const before = resolved(new Splitter().split("One.\n\nTwo[^1]."));
  const then = resolved(new Splitter().split("One.\n\nTwo[^1].\n\n[^1]: Yes."));
  assert.deepEqual(then[0], before[0]);
  assert.equal(before[1]!.source, "Two[^1].");
  assert.equal(then[1]!.source.trim(), "Two[1](#note-1).");
});

test("the highlighter is made once, and not for each block of code", () => {
  const [make] = plugins as [() => unknown];
  assert.equal(make(), make());
});
