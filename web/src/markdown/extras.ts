// Highlighting and maths are large, and most answers have neither: they are fetched when the first one needs them.

import { useEffect, useSyncExternalStore } from "react";
import type { Options } from "react-markdown";
import { persist } from "../client/api.ts";
import { Problem } from "../client/problem.ts";
import { fetched } from "../client/program.ts";

type Plugins = NonNullable<Options["rehypePlugins"]>;
type Kind = "code" | "math";

const loaded: Partial<Record<Kind, Plugins>> = {};
const asked = new Set<Kind>();
const listeners = new Set<() => void>();
let version = 0;

const FETCH = {
  code: async () => (await import("./highlight.ts")).plugins,
  math: async () => (await import("./math.ts")).plugins,
};

async function load(kind: Kind): Promise<void> {
  if (asked.has(kind)) return;
  asked.add(kind);
  try {
    loaded[kind] = await persist(() => fetched(FETCH[kind]), { onWait: () => {} });
  } catch (error) {
    // The page is old, and says so: the text is readable without.
    if (error instanceof Problem) return;
    throw error;
  }
  version += 1;
  for (const listener of listeners) listener();
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
