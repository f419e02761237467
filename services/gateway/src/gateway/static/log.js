// The messages of the conversation that is shown: their order, and the scrolling.
//
// The newest line stays in sight for as long as the reader has not scrolled away from it.

import { MessageView } from "./message.js";

const NEAR_PX = 48;

export class Log {
  constructor({ scroller, list, more, jump }) {
    Object.assign(this, { scroller, list, more, jump });
    this.following = true;
    this.lastTop = 0;
    this.frame = null;
    scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    jump.addEventListener("click", () => this.toEnd());
    new ResizeObserver(() => this.grown()).observe(scroller);
    this.clear();
  }

  clear() {
    this.views = new Map();
    this.list.replaceChildren();
    this.more.hidden = true;
    this.toEnd();
  }

  get isEmpty() {
    return this.views.size === 0;
  }

  /** What the first message from the user says, or "". */
  get firstText() {
    return this.list.querySelector(".message.user .text")?.textContent ?? "";
  }

  /** Does a tool wait for a person? */
  get asksForApproval() {
    return this.list.querySelector('.tool[data-state="waiting"]') !== null;
  }

  get firstSequence() {
    return Math.min(...[...this.views.values()].map((view) => view.sequence));
  }

  view(messageId, role) {
    let view = this.views.get(messageId);
    if (!view) {
      view = new MessageView(messageId, role);
      this.views.set(messageId, view);
      this.list.append(view.element);
    }
    return view;
  }

  remove(messageId) {
    this.views.get(messageId)?.element.remove();
    this.views.delete(messageId);
  }

  addUserMessage(messageId, text) {
    const view = this.view(messageId, "user");
    view.show([{ type: "text", text }]);
    this.toEnd();
    return view;
  }

  /** The answer of a running turn, as it was before that turn, behind the message that it answers. */
  addAnswer({ answerId, messageId, taskId }) {
    const view = this.view(answerId, "assistant");
    view.question = this.views.get(messageId) ?? null;
    this.order();
    view.begin(taskId);
    this.grown();
    return view;
  }

  /** Show the newest page of the history as the server has it; `liveId`: an answer that is not part of it yet. */
  showNewest(messages, liveId) {
    const first = messages[0]?.sequence ?? 0;
    const listed = new Set(messages.map((message) => message.id));
    for (const view of [...this.views.values()]) {
      const own = view.pending || view.messageId === liveId || !view.notice.hidden;
      if (!own && !listed.has(view.messageId) && view.sequence >= first) this.remove(view.messageId);
    }
    this.showPage(messages);
    this.grown();
  }

  /** Show an older page above what is there, which stays where it is on the screen. */
  showOlder(messages) {
    const height = this.scroller.scrollHeight;
    this.showPage(messages);
    this.scroller.scrollTop += this.scroller.scrollHeight - height;
  }

  showPage(messages) {
    for (const { id, role, parts, sequence, metadata } of messages) {
      const view = this.view(id, role);
      view.sequence = sequence;
      view.show(parts, metadata);
    }
    this.order();
  }

  order() {
    const sorted = [...this.views.values()].sort((a, b) => a.sequence - b.sequence);
    this.views = new Map(sorted.map((view) => [view.messageId, view]));
    const inPlace = sorted.every((view, n) => this.list.children[n] === view.element);
    if (!inPlace) this.list.append(...sorted.map((view) => view.element));
  }

  toEnd() {
    this.following = true;
    this.grown();
  }

  /** Something was added. Many additions between two frames are one scroll. */
  grown() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.following) this.scroller.scrollTop = this.scroller.scrollHeight;
      this.showJump();
    });
  }

  scrolled() {
    // What grew since the last frame is not the reader's doing: only a way up is.
    if (this.isNearEnd) this.following = true;
    else if (this.scroller.scrollTop < this.lastTop - 1) this.following = false;
    this.lastTop = this.scroller.scrollTop;
    this.showJump();
  }

  showJump() {
    this.jump.hidden = this.following || this.isNearEnd;
  }

  get isNearEnd() {
    return this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight < NEAR_PX;
  }
}
