// What one block names and another one says: footnotes, and where links lead. Each block is rendered by itself, so it is
// given what it names.

import type { Block } from "./blocks.ts";
import { outsideCode } from "./prepared.ts";

const NOTE = /\[\^([^\]\s]+)\]/g;
// The text of a note goes on in lines that are set in, as that of an item of a list does: it becomes one.
const NOTE_TEXT = /^ {0,3}\[\^([^\]\s]+)\]:[ \t]*/gm;
/** What follows a name is no address: where it leads, another block says. */
const NAMES_LINK = /\](?!\()/;

export const hasNotes = (source: string): boolean => source.search(NOTE_TEXT) >= 0;

export interface Resolved {
  source: string;
  /** What the links in it name, to be put behind it. */
  links: string;
}

export function resolved(blocks: readonly Block[]): Resolved[] {
  const defining = blocks.filter((block) => block.defines);
  const notes = new Map<string, number>();
  for (const { source } of defining) for (const [, name] of source.matchAll(NOTE_TEXT)) if (!notes.has(name!)) notes.set(name!, notes.size + 1);
  const links = defining.filter(({ source }) => !hasNotes(source)).map(({ source }) => source).join("");
  return blocks.map(({ source, code }) => {
    if (code || defining.length === 0 || !source.includes("[")) return { source, links: "" };
    return { source: withNotes(source, notes), links: links !== "" && NAMES_LINK.test(source) ? `\n\n${links}` : "" };
  });
}

/** Numbers in the order of their texts, as a list of these counts them. Of a note without a text its name is shown. */
function withNotes(source: string, notes: ReadonlyMap<string, number>): string {
  const numbered = (write: (number: number) => string) => (all: string, name: string) => (notes.has(name) ? write(notes.get(name)!) : all);
  const texts = (piece: string) => piece.replace(NOTE_TEXT, numbered((n) => `${n}. [](${NOTE_PLACE}${n}) `));
  return outsideCode(source, (piece) => texts(piece).replace(NOTE, numbered((n) => `[${n}](${NOTE_LINK}${n})`)));
}

// Addresses that Markdown.tsx makes of them.
export const NOTE_LINK = "#note-";
export const NOTE_PLACE = "#noted-";
