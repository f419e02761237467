// Messages that were written and that the server does not have yet, and the question that is put otherwise. They outlive a
// reload: their ids make it safe to send them again.

import { recall, remember } from "../storage.ts";

/** A file that the server has, as a part of a message. */
export interface Attachment {
  type: "file";
  url: string;
  filename: string;
  mediaType: string;
}

export interface Outgoing {
  id: string;
  text: string;
  files?: readonly Attachment[];
  /** That is to answer it, where one was chosen. */
  model?: string;
}

interface Unsent {
  /** The server does not know the conversation yet. */
  isNew: boolean;
  temporary?: boolean;
  messages: Outgoing[];
}

const STORED = "sluiceway.outbox";
const readAll = () => recall<Record<string, Unsent>>(STORED, {});

export function keepUnsent(sessionId: string, unsent: Unsent): void {
  const all = readAll();
  delete all[sessionId];
  if (unsent.messages.length > 0) all[sessionId] = unsent;
  remember(STORED, all);
}

/** Whether it has begun here alone, and as what. */
export const unbegun = (sessionId: string): { temporary: boolean } | null => {
  const { isNew = false, temporary = false } = readAll()[sessionId] ?? {};
  return isNew ? { temporary } : null;
};

export const unsentOf = (sessionId: string): Outgoing[] => readAll()[sessionId]?.messages ?? [];

const EDITED = "sluiceway.edited";

export interface Edited {
  id: string;
  text: string;
}

const editedIn = () => recall<Record<string, Edited>>(EDITED, {});
export const editedOf = (sessionId: string): Edited | undefined => editedIn()[sessionId];

/** Null: the server has it, or it is back in the box. */
export function keepEdited(sessionId: string, edited: Edited | null): void {
  const { [sessionId]: before, ...others } = editedIn();
  if (before || edited) remember(EDITED, edited ? { ...others, [sessionId]: edited } : others);
}

/** A conversation that has begun here alone: its first message is still to be sent. */
export const unsentConversation = (): string | null => Object.entries(readAll()).find(([, { isNew }]) => isNew)?.[0] ?? null;
