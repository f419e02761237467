// A text of markdown as blocks, so that of an answer that grows only the end is rendered again.

import { lexer, type Token, type Tokens } from "marked";
import { hasNotes } from "./references.ts";

// A list with more items than that is several blocks: all of it would be rendered again with each item that comes.
const MOST_ITEMS = 20;

export interface Block {
  source: string;
  /** Whether it is code: nothing in it is prepared for the renderer. */
  code: boolean;
  /** Whether other blocks may name what it says: see references.ts. */
  defines: boolean;
}

/** Splits a text that mostly grows at its end. What stood before its last block is not read again. */
export class Splitter {
  private text = "";
  private blocks: Block[] = [];

  split(text: string): Block[] {
    const kept = text.startsWith(this.text) ? this.blocks.slice(0, -1) : [];
    const at = kept.reduce((length, block) => length + block.source.length, 0);
    this.blocks = [...kept, ...blocksIn(text.slice(at))];
    this.text = text;
    return this.blocks;
  }
}

function blocksIn(text: string): Block[] {
  const blocks: Block[] = [];
  let at = 0;
  for (const token of lexer(text, { gfm: true })) {
    // The lexer makes blanks of tabs and \n of \r\n: the source is cut by length only where that is right.
    const source = sourceOf(token, text, at);
    if (source === null) return [...blocks, { source: text.slice(at), code: false, defines: false }];
    at += source.length;
    const last = blocks.at(-1);
    if (last && (token.type === "space" || isOpenMath(last))) last.source += source;
    else blocks.push(...piecesOf(token, source).map((piece) => ({ source: piece, code: token.type === "code", defines: defines(token) })));
  }
  if (at < text.length) blocks.push({ source: text.slice(at), code: false, defines: false });
  return blocks;
}

const defines = ({ type, raw }: Token): boolean => type === "def" || (type === "paragraph" && hasNotes(raw));

/** Null: what the lexer tells of it is not what stands there. Of blanks at the end of a text it makes others. */
function sourceOf({ raw }: Token, text: string, at: number): string | null {
  if (text.startsWith(raw, at)) return raw;
  const rest = text.slice(at);
  return rest.trimEnd() === raw.trimEnd() ? rest : null;
}

/** A long list in pieces. Those of a numbered one have their numbers in their source. */
function piecesOf(token: Token, source: string): string[] {
  if (token.type !== "list") return [source];
  const items = (token as Tokens.List).items.map(({ raw }) => raw);
  // A sign alone may become another thing: it does not begin a piece yet.
  const begun = /^\s*(?:[-*+]|\d+[.)])\s*$/.test(items.at(-1)!) ? items.length - 1 : items.length;
  const starts = [0];
  for (let n = 0, at = 0; n < begun; at += items[n]!.length, n += 1) if (n % MOST_ITEMS === 0 && n > 0) starts.push(at);
  // The lexer makes blanks of tabs: cut only where that is right.
  if (!source.startsWith(items.join("").trimEnd())) return [source];
  return starts.map((at, n) => source.slice(at, starts[n + 1]));
}

/** Between two `$$` an empty line ends no paragraph. */
const isOpenMath = ({ source, code }: Block): boolean => !code && source.split("$$").length % 2 === 0;
