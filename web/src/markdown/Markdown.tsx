// Markdown, block by block. HTML in it is shown as the text that it is; links and pictures run and fetch nothing.

import { createContext, isValidElement, memo, useContext, useRef, type ComponentProps, type MouseEvent, type ReactNode } from "react";
import ReactMarkdown, { type Components } from "react-markdown";
import remarkGfm from "remark-gfm";
import remarkMath from "remark-math";
import { CopyButton } from "../ui/CopyButton.tsx";
import { useWords } from "../words/words.ts";
import { Splitter } from "./blocks.ts";
import { Diagram } from "./Diagram.tsx";
import { useExtras } from "./extras.ts";
import { hasMath, prepared } from "./prepared.ts";
import { NOTE_LINK, NOTE_PLACE, resolved, type Resolved } from "./references.ts";
import { useGradual } from "./useGradual.ts";

interface Props {
  text: string;
  /** It may still grow. */
  open?: boolean;
  className: string;
}

export function Markdown({ text, open = false, className }: Props) {
  const splitter = useRef<Splitter | null>(null);
  splitter.current ??= new Splitter();
  const shown = useGradual(text);
  const blocks = splitter.current.split(shown);
  const sources = resolved(blocks);
  const grows = open || shown.length < text.length;
  return (
    <div className={className} aria-busy={shown.length < text.length || undefined}>
      {blocks.map((block, n) => (
        <RenderedBlock key={n} {...sources[n]!} code={block.code} open={grows && n === blocks.length - 1} />
      ))}
    </div>
  );
}

const RenderedBlock = memo(function RenderedBlock({ source, links, code, open }: Resolved & { code: boolean; open: boolean }) {
  const kind = /^[ \t>*+\-\d.)]*(```|~~~)/m.test(source) ? "code" : hasMath(source) ? "math" : null;
  const plugins = useExtras(kind);
  return (
    <Grows value={open}>
      <ReactMarkdown remarkPlugins={REMARK} rehypePlugins={[...(plugins ?? []), blocksHaveDirections]} components={COMPONENTS}>
        {prepared({ source, code }, open) + links}
      </ReactMarkdown>
    </Grows>
  );
});

/** Whether more of the block may come. */
const Grows = createContext(false);

const REMARK: ComponentProps<typeof ReactMarkdown>["remarkPlugins"] = [remarkGfm, [remarkMath, { singleDollarTextMath: false }]];

/** Each block has the direction of its first word. A `dir` within would take its words out of that: markdown.css has the rest. */
function blocksHaveDirections() {
  return ({ children }: { children: { properties?: { dir?: string } }[] }): void => {
    for (const { properties } of children) if (properties) properties.dir = "auto";
  };
}

// Above a heading of an answer stand the conversation's and the message's.
const COMPONENTS: Components = {
  h1: ({ children, dir }) => <h3 dir={dir}>{children}</h3>,
  h2: ({ children, dir }) => <h4 dir={dir}>{children}</h4>,
  h3: ({ children, dir }) => <h5 dir={dir}>{children}</h5>,
  h4: ({ children, dir }) => <h6 dir={dir}>{children}</h6>,
  h5: ({ children, dir }) => <h6 dir={dir}>{children}</h6>,
  p: ({ children, dir }) => <p dir={dir}>{children}</p>,
  ul: ({ children, className, dir }) => <ul className={className} dir={dir}>{children}</ul>,
  ol: ({ children, start, dir }) => <ol dir={dir} start={start}>{children}</ol>,
  blockquote: ({ children, dir }) => <blockquote dir={dir}>{children}</blockquote>,
  code: ({ children, className }) => <code className={className} dir="ltr">{children}</code>,
  a: ({ href, children }) => <Link href={href}>{children}</Link>,
  img: ({ src, alt }) => <Picture src={typeof src === "string" ? src : undefined} alt={alt ?? ""} />,
  table: ({ children, dir }) => (
    <div className="table" dir={dir} role="region" aria-label={useWords().table} tabIndex={0}>
      <table>{children}</table>
    </div>
  ),
  input: ({ checked }) => <input type="checkbox" checked={checked} readOnly disabled aria-label={checked ? "☑" : "☐"} />,
  pre: ({ children }) => <CodeBlock>{children}</CodeBlock>,
};

function Link({ href, children }: ComponentProps<"a">) {
  if (href?.startsWith(NOTE_LINK)) return <NoteLink number={href.slice(NOTE_LINK.length)} />;
  if (href?.startsWith(NOTE_PLACE)) return <span data-note={href.slice(NOTE_PLACE.length)} tabIndex={-1} />;
  if (!href || !/^(https?:|mailto:|tel:|#)/i.test(href)) return <span>{children}</span>;
  return (
    <a href={href} data-address={String(children) === href ? undefined : href} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  );
}

/** Leads to the text of its footnote, below in the same answer; the page's own address stays. */
function NoteLink({ number }: { number: string }) {
  const show = (event: MouseEvent<HTMLAnchorElement>) => {
    event.preventDefault();
    event.currentTarget.closest(".text, .document")?.querySelector<HTMLElement>(`[data-note="${CSS.escape(number)}"]`)?.focus();
  };
  return (
    <sup>
      <a href={`${NOTE_LINK}${number}`} role="doc-noteref" onClick={show}>
        {number}
      </a>
    </sup>
  );
}

/** A picture from elsewhere would tell its server who reads this, so it is a link. */
function Picture({ src, alt }: { src: string | undefined; alt: string }) {
  const words = useWords();
  if (src?.startsWith("data:image/") || src?.startsWith("/")) return <img src={src} alt={alt} />;
  return <Link href={src}>{alt || words.image}</Link>;
}

function CodeBlock({ children }: ComponentProps<"pre">) {
  const words = useWords();
  const pre = useRef<HTMLPreElement>(null);
  const { className } = ((children as { props?: { className?: string } } | null)?.props ?? {});
  const language = /language-([\w+#.-]+)/.exec(className ?? "")?.[1];
  const grows = useContext(Grows);
  const source = (
    <pre ref={pre} tabIndex={0}>
      {children}
    </pre>
  );
  return (
    <div className="code" dir="ltr">
      <div className="code-head">
        <span>{language}</span>
        <CopyButton label={words.copyCode} text={() => pre.current?.textContent?.replace(/\n$/, "") ?? ""} />
      </div>
      {language === "mermaid" && !grows ? <Diagram code={textIn(children)} source={source} /> : source}
    </div>
  );
}

/** What a tree of elements says. */
function textIn(node: ReactNode): string {
  if (typeof node === "string") return node;
  if (Array.isArray(node)) return node.map(textIn).join("");
  return isValidElement<{ children?: ReactNode }>(node) ? textIn(node.props.children) : "";
}
