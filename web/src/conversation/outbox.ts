// Messages that were written and that the server does not have yet. They outlive a reload: their ids make it safe to
// send them again.

import { recall, remember } from "../storage.ts";

export interface Outgoing {
  id: string;
  text: string;
}

const STORED = "sluiceway.outbox";
type Stored = Record<string, Outgoing[]>;

export function keepUnsent(sessionId: string, messages: Outgoing[]): void {
  const all = recall<Stored>(STORED, {});
  delete all[sessionId];
  if (messages.length > 0) all[sessionId] = messages;
  remember(STORED, all);
}

export const unsentOf = (sessionId: string): Outgoing[] => recall<Stored>(STORED, {})[sessionId] ?? [];
