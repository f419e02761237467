// Highlighting and maths are large, and most answers have neither: they are fetched when the first one needs them.

import { useEffect, useSyncExternalStore } from "react";
import type { Options } from "react-markdown";

type Plugins = NonNullable<Options["rehypePlugins"]>;
type Kind = "code" | "math";

const loaded: Partial<Record<Kind, Plugins>> = {};
const asked = new Set<Kind>();
const listeners = new Set<() => void>();
let version = 0;

async function load(kind: Kind): Promise<void> {
  if (asked.has(kind)) return;
  asked.add(kind);
  try {
    loaded[kind] = kind === "code" ? (await import("./highlight.ts")).plugins : (await import("./math.ts")).plugins;
    version += 1;
    for (const listener of listeners) listener();
  } catch {
    // Offline, or a new version of the page: the text is readable without, and the next answer asks again.
    asked.delete(kind);
  }
}

const subscribe = (listener: () => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

/** The plugins that a block needs, as far as they are there. */
export function useExtras(kind: Kind | null): Plugins | undefined {
  useSyncExternalStore(subscribe, () => version);
  useEffect(() => {
    if (kind) void load(kind);
  }, [kind]);
  return kind ? loaded[kind] : undefined;
}
