// Which model is to answer: what was chosen for a conversation, in this browser.

import type { UIMessage } from "ai";
import { recall, remember } from "../storage.ts";
import { dataOf } from "./history.ts";

const STORED = "sluiceway.models";
const MOST_STORED = 300;

interface Kept {
  /** The one that was chosen last: conversations that are begun after that have it, too. */
  latest?: string;
  chosen?: [sessionId: string, model: string][];
}

export class ModelChoice {
  private readonly sessionId: string;
  private readonly messages: () => readonly UIMessage[];
  private readonly onChange: () => void;
  private offered: readonly string[] | null = null;

  constructor(sessionId: string, messages: () => readonly UIMessage[], onChange: () => void) {
    this.sessionId = sessionId;
    this.messages = messages;
    this.onChange = onChange;
  }

  /** The one that was chosen here, else that of the last answer, else the one that was chosen last. "": the server's own
   * choice. */
  get name(): string {
    const { offered } = this;
    const answered = this.messages().findLast((message) => message.role === "assistant");
    const { latest, chosen = [] } = recall<Kept>(STORED, {});
    const here = chosen.find(([id]) => id === this.sessionId)?.[1];
    const wanted = [here, offered && answered && dataOf(answered).model, latest];
    return wanted.find((name): name is string => typeof name === "string" && (name === "" || !offered || offered.includes(name))) ?? "";
  }

  /** What there is to choose from. One that was chosen and is not among them is not asked for any more. */
  offer(models: readonly string[]): void {
    this.offered = models;
    this.onChange();
  }

  /** "": the server's own choice. */
  choose(name: string): void {
    const { chosen = [] } = recall<Kept>(STORED, {});
    const others = chosen.filter(([id]) => id !== this.sessionId);
    remember(STORED, { latest: name, chosen: [[this.sessionId, name], ...others].slice(0, MOST_STORED) });
    this.onChange();
  }
}
