// What the page around a conversation is told.

import type { SessionDetail } from "../client/api.ts";
import type { Attachment } from "./outbox.ts";

export interface Host {
  /** The server has the conversation, or it has changed: the list is to be read. */
  onChange(): void;
  onSession(session: SessionDetail, firstText: string): void;
  onReturn(text: string, files?: readonly Attachment[]): void;
  /** Its first message is back in the box: there is nothing of it. */
  onUnbegun(): void;
  /** The conversation has got its title while its answer is written. */
  onTitle(title: string): void;
  onEnd(): void;
}
