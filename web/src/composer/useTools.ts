import { useCallback, useRef, useState } from "react";
import { listTools, type Tool } from "../client/api.ts";

const FRESH_MS = 30_000;

/** The tools that can be used now, read when somebody types `/`. Without a list, a command is sent as it is. */
export function useTools(): [Tool[], () => void] {
  const [tools, setTools] = useState<Tool[]>([]);
  const readAt = useRef(-Infinity);
  const read = useCallback(() => {
    if (performance.now() - readAt.current < FRESH_MS) return;
    readAt.current = performance.now();
    listTools().then(
      (found) => setTools(found.tools ?? []),
      () => setTools([]),
    );
  }, []);
  return [tools, read];
}

/** What stands between the slash and the caret, or null where no name is being written. */
export function wordAt(text: string, caret: number): string | null {
  return /^\/(\S*)$/.exec(text.slice(0, caret))?.[1] ?? null;
}

/** Tools whose name begins so, then those that have the word elsewhere. */
export function fitting(tools: Tool[], word: string): Tool[] {
  const wanted = word.toLowerCase();
  const place = ({ name, title }: Tool) => {
    if (name.toLowerCase().startsWith(wanted)) return name.length === word.length ? 0 : 1;
    return `${name} ${title ?? ""}`.toLowerCase().includes(wanted) ? 2 : 3;
  };
  return [0, 1, 2].flatMap((at) => tools.filter((tool) => place(tool) === at));
}
