// A text of markdown as blocks, so that of an answer that grows only the end is rendered again.

import { lexer } from "marked";

export interface Block {
  source: string;
  /** Whether it is code: nothing in it is prepared for the renderer. */
  code: boolean;
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
    const source = text.startsWith(token.raw, at) ? token.raw : null;
    if (source === null) return [...blocks, { source: text.slice(at), code: false }];
    at += source.length;
    const last = blocks.at(-1);
    if (last && (token.type === "space" || isOpenMath(last))) last.source += source;
    else blocks.push({ source, code: token.type === "code" });
  }
  if (at < text.length) blocks.push({ source: text.slice(at), code: false });
  return blocks;
}

/** Between two `$$` an empty line ends no paragraph. */
const isOpenMath = ({ source, code }: Block): boolean => !code && source.split("$$").length % 2 === 0;
