// What models write and the renderer does not know: TeX between \( \), \[ \] and single dollars.

import remend from "remend";
import type { Block } from "./blocks.ts";

// In code nothing is maths.
const CODE_SPAN = /(`+(?:[^`]|\n)*?`+)/;
const MATHS_SIGN = /[\\^_={}<>+*/]|^[a-zA-Z]$/;

export const hasMath = (source: string): boolean => source.includes("$$") || /\\[([]/.test(source) || singles(source) !== source;

/** `open`: it is the last block of an answer that grows, and may break off within a word in bold or a link. */
export function prepared({ source, code }: Pick<Block, "source" | "code">, open: boolean): string {
  if (code) return source;
  const whole = open ? remend(source, { katex: false }) : source;
  return outsideCode(whole, (piece) => singles(delimiters(piece)));
}

export const outsideCode = (source: string, change: (piece: string) => string): string =>
  source.split(CODE_SPAN).map((piece, n) => (n % 2 ? piece : change(piece))).join("");

const delimiters = (source: string): string =>
  source
    // A formula that has its lines to itself is one, also where its signs do not.
    .replace(/^([ \t]*)\$\$([^$\n]+)\$\$[ \t]*$/gm, (_, indent: string, tex: string) => ["$$", tex.trim(), "$$"].map((line) => indent + line).join("\n"))
    .replace(/\\\[([\s\S]+?)\\\]/g, (_, tex: string) => ["", "$$", tex.trim(), "$$", ""].join("\n"))
    .replace(/\\\((.+?)\\\)/g, (_, tex: string) => "$$" + tex.trim() + "$$");

/** `$x^2$` is TeX; "$5 and $6" is money. */
const singles = (source: string): string =>
  source.replace(/(?<![\w$\\])\$(?=[^\s$])([^$\n]{0,500}?[^\s$\\])\$(?![\w$])/g, (all, tex: string) => (MATHS_SIGN.test(tex) ? "$$" + tex + "$$" : all));
