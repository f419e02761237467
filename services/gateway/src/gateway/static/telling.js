// What is said below the conversation while a turn runs. It is read aloud, so it must not chatter: progress is told
// now and then, and the rest only where something begins or ends.

const PROGRESS_MS = 5_000;
export const WAITING = "Waiting for the answer…";
export const ANSWERING = "Answering…";

const PLAIN = {
  __proto__: null,
  "reasoning-start": "Thinking…",
  "text-start": ANSWERING,
  "reset-step": "Interrupted. Answering again…",
};
const OF_TOOL = {
  __proto__: null,
  "tool-input-start": (title) => `Calling ${title}…`,
  "tool-input-available": (title) => `Calling ${title}…`,
  "tool-approval-request": (title) => `${title} waits for your approval.`,
  "tool-output-available": (title) => `${title} is done.`,
  "tool-output-error": (title) => `${title} failed.`,
  "tool-output-denied": (title) => `${title} was not allowed.`,
};

export class Teller {
  constructor() {
    this.progressAt = -Infinity;
  }

  /** What is to be said of this chunk, or null. `view`: the answer it was applied to. */
  said(chunk, view) {
    if (chunk.type in PLAIN) return PLAIN[chunk.type];
    const tool = chunk.type in OF_TOOL && view.tool(chunk.toolCallId);
    if (!tool) return null;
    return chunk.preliminary ? this.progress(tool) : OF_TOOL[chunk.type](tool.title);
  }

  progress({ title, progress: { message } }) {
    if (performance.now() - this.progressAt < PROGRESS_MS) return null;
    this.progressAt = performance.now();
    return message ? `${title}: ${message}` : `${title} is running…`;
  }
}
