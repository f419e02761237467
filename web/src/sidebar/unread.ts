// Conversations in which something was said that nobody on this device has looked at.

import { onChanged, recall, remember } from "../storage.ts";

const STORED = "sluiceway.unread";
const MOST = 300;

export class Unread {
  private ids: ReadonlySet<string> = new Set(recall<string[]>(STORED, []));

  /** `onChange`: another tab has changed it. */
  constructor(onChange: () => void) {
    onChanged(STORED, () => {
      this.ids = new Set(recall<string[]>(STORED, []));
      onChange();
    });
  }

  has(sessionId: string): boolean {
    return this.ids.has(sessionId);
  }

  /** Whether that changes anything. */
  set(sessionId: string, unread: boolean): boolean {
    if (this.ids.has(sessionId) === unread) return false;
    const others = [...this.ids].filter((id) => id !== sessionId);
    this.ids = new Set(unread ? [...others, sessionId].slice(-MOST) : others);
    remember(STORED, [...this.ids]);
    return true;
  }
}
