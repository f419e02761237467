import { useEffect, useRef } from "react";
import type { Tool } from "../client/api.ts";
import { useWords } from "../words/words.ts";

interface Props {
  tools: Tool[];
  active: number;
  onPick: (tool: Tool) => void;
}

/** What `/` offers. The focus stays in the text; the options are named by `aria-activedescendant`. */
export function ToolList({ tools, active, onPick }: Props) {
  const words = useWords();
  return (
    // A press must not take the focus away from the text.
    <ul id="commands" role="listbox" aria-label={words.tools} onPointerDown={(event) => event.preventDefault()}>
      {tools.map((tool, n) => (
        <Option key={tool.name} tool={tool} n={n} selected={n === active} onPick={onPick} />
      ))}
    </ul>
  );
}

function Option({ tool, n, selected, onPick }: { tool: Tool; n: number; selected: boolean; onPick: Props["onPick"] }) {
  const words = useWords();
  const item = useRef<HTMLLIElement>(null);
  useEffect(() => {
    if (selected) item.current?.scrollIntoView({ block: "nearest" });
  }, [selected]);
  // Ahead of what may be cut off.
  const name = [tool.title, tool.approval && `(${words.asksFirst})`].filter(Boolean).join(" ");
  const about = [name, tool.description].filter(Boolean).join(": ");
  return (
    <li ref={item} role="option" id={`command-${n}`} aria-selected={selected} onClick={() => onPick(tool)}>
      <code>/{tool.name}</code> <span className="soft">{about}</span>
    </li>
  );
}
