// Which model is to answer: what was chosen for a conversation, in this browser.

import { recall, remember } from "../storage.ts";

const STORED = "sluiceway.models";
const MOST_STORED = 300;

interface Kept {
  /** The one that was chosen last: conversations that are begun after that have it, too. */
  latest?: string;
  chosen?: [sessionId: string, model: string][];
}

export function chosenModel(sessionId: string): string | null {
  const { chosen = [] } = recall<Kept>(STORED, {});
  return chosen.find(([id]) => id === sessionId)?.[1] ?? null;
}

export const latestModel = (): string | null => recall<Kept>(STORED, {}).latest ?? null;

/** "": the server's own choice. */
export function keepModel(sessionId: string, model: string): void {
  const { chosen = [] } = recall<Kept>(STORED, {});
  const others = chosen.filter(([id]) => id !== sessionId);
  remember(STORED, { latest: model, chosen: [[sessionId, model], ...others].slice(0, MOST_STORED) });
}
