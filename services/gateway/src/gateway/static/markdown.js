// Markdown as readable text: headings, paragraphs, lists, quotes, code, emphasis, links. All else stays the text that
// it is. It is read block by block, so that of a document that grows only the end is built again.

import { element } from "./dom.js";

const MOST_SHOWN = 100_000;

const HEADING = /^(#{1,6})[ \t]+(.*)$/;
const FENCE = /^[ \t]*(```+|~~~+)/;
const RULE = /^[ \t]*([-*_])[ \t]*(?:\1[ \t]*){2,}$/;
const ITEM = /^[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+/;
const DEEP_ITEM = /^(?:\t| {2})/;
const NUMBERED = /^[ \t]*\d/;
const QUOTE = /^[ \t]*>[ \t]?/;
const TABLE = /^[ \t]*\|/;
// A backslash takes a sign's meaning away; code; strong; emphasis; a link. Lengths are bounded, or a text of nothing
// but beginnings would take the square of its length.
const INLINE = new RegExp(
  [
    "\\\\(?<sign>[!-/:-@[-`{-~])",
    "`(?<code>[^`]{1,1000})`",
    "\\*\\*(?<strong>\\S(?:.{0,1000}?\\S)??)\\*\\*",
    "\\*(?<em>[^\\s*](?:[^*]{0,1000}[^\\s*])?)\\*",
    "(?<!\\w)_(?<em2>[^\\s_](?:[^_]{0,1000}[^\\s_])?)_(?!\\w)",
    "\\[(?<label>[^\\[\\]]{1,1000})\\]\\((?<url>[^\\s()]{1,2000})\\)",
  ].join("|"),
  "su",
);

export class MarkdownText {
  constructor() {
    this.element = element("div", { class: "document", dir: "auto", hidden: "" });
    this.sources = [];
  }

  /** Show this text in place of what was there; blocks at its beginning that are the same stay. */
  show(text) {
    const whole = text.length <= MOST_SHOWN;
    const blocks = blocksOf(whole ? text : `${text.slice(0, MOST_SHOWN)}\n\n… (not all of it is shown)`);
    let same = 0;
    while (same < blocks.length && blocks[same].source === this.sources[same]) same += 1;
    while (this.element.children.length > same) this.element.lastElementChild.remove();
    this.element.append(...blocks.slice(same).map(blockElement));
    this.sources = blocks.map((block) => block.source);
    this.element.hidden = blocks.length === 0;
  }
}

/** The blocks of a text: `{kind, lines, source}`. */
export function blocksOf(text) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const blocks = [];
  for (let at = 0; at < lines.length; ) {
    const [kind, end] = lines[at].trim() ? blockAt(lines, at) : [null, at + 1];
    const own = lines.slice(at, end);
    if (kind) blocks.push({ kind, lines: own, source: `${kind}\n${own.join("\n")}` });
    at = end;
  }
  return blocks;
}

/** The kind of the block that begins there, and the line behind its end. */
function blockAt(lines, at) {
  const line = lines[at];
  const fence = FENCE.exec(line)?.[1];
  if (fence) return ["code", 1 + endOf(lines, at, (next) => !next.trim().startsWith(fence))];
  if (HEADING.test(line)) return ["heading", at + 1];
  if (RULE.test(line)) return ["rule", at + 1];
  if (QUOTE.test(line)) return ["quote", endOf(lines, at, (next) => next.trim() && !FENCE.test(next))];
  if (TABLE.test(line)) return ["table", endOf(lines, at, (next) => TABLE.test(next))];
  if (ITEM.test(line)) return [NUMBERED.test(line) ? "ol" : "ul", endOf(lines, at, belongsToList)];
  return ["paragraph", endOf(lines, at, (next) => next.trim() && !beginsBlock(next))];
}

const beginsBlock = (line) => [HEADING, FENCE, RULE, QUOTE, TABLE, ITEM].some((beginning) => beginning.test(line));
const belongsToList = (line) => ITEM.test(line) || (line.trim() && !beginsBlock(line));

/** The first line after `at` that does not fit. */
function endOf(lines, at, fits) {
  let end = at + 1;
  while (end < lines.length && fits(lines[end])) end += 1;
  return end;
}

function blockElement({ kind, lines }) {
  switch (kind) {
    case "code":
      return preformatted(lines.slice(1, FENCE.test(lines.at(-1)) && lines.length > 1 ? -1 : undefined));
    case "table":
      return preformatted(lines);
    case "rule":
      return element("hr");
    case "heading": {
      const [, signs, text] = HEADING.exec(lines[0]);
      // Above it stand the page's heading, the conversation's and the message's.
      return element(`h${Math.min(signs.length + 3, 6)}`, {}, ...inline(text.trim().replace(/\s#{1,6}$/, "")));
    }
    case "quote":
      return element("blockquote", {}, ...inline(lines.map((line) => line.replace(QUOTE, "")).join("\n")));
    case "ol":
    case "ul":
      return listElement(kind, lines);
    default:
      return element("p", {}, ...inline(lines.join("\n")));
  }
}

function preformatted(lines) {
  return element("pre", { tabindex: "0", text: lines.join("\n") });
}

/** A list, with the lists in it one level deep. */
function listElement(kind, lines) {
  const list = element(kind);
  const first = parseInt(lines[0], 10);
  if (kind === "ol" && first !== 1) list.start = first;
  for (const [line, ...rest] of itemsOf(lines)) {
    const item = element("li", {}, ...inline([line.replace(ITEM, ""), ...rest].join("\n")));
    const above = DEEP_ITEM.test(line) && list.lastElementChild;
    if (above) innerList(above, NUMBERED.test(line) ? "ol" : "ul").append(item);
    else list.append(item);
  }
  return list;
}

function innerList(item, kind) {
  const last = item.lastElementChild;
  if (last?.localName === kind) return last;
  item.append(element(kind));
  return item.lastElementChild;
}

function itemsOf(lines) {
  const items = [];
  for (const line of lines) {
    if (ITEM.test(line)) items.push([line]);
    else items.at(-1).push(line.trim());
  }
  return items;
}

function inline(text) {
  const nodes = [];
  for (let rest = text; rest; ) {
    const match = INLINE.exec(rest);
    if (!match) return [...nodes, rest];
    if (match.index) nodes.push(rest.slice(0, match.index));
    nodes.push(inlineNode(match[0], match.groups));
    rest = rest.slice(match.index + match[0].length);
  }
  return nodes;
}

function inlineNode(whole, { sign, code, strong, em, em2, label, url }) {
  if (sign) return sign;
  if (code) return element("code", { text: code });
  if (strong) return element("strong", {}, ...inline(strong));
  if (em ?? em2) return element("em", {}, ...inline(em ?? em2));
  // No other scheme: a link must not run anything.
  if (!/^https?:\/\//i.test(url)) return whole;
  return element("a", { href: url, rel: "noopener noreferrer nofollow", target: "_blank", text: label });
}
