// One message on the page, built from its stored parts or from the chunks of a running turn.
//
// A chunk of an unknown type, or one whose beginning is missing, changes nothing.

import { AgentTimeline } from "./agents.js";
import { element } from "./dom.js";
import { TextPart, shownParts, viewOf } from "./parts.js";
import { ToolPart } from "./tool.js";

// What the server has not placed yet stands at the end, in the order in which it came.
const NOT_PLACED = 1e15;
let written = 0;

const AUTHOR = { user: "You", assistant: "Assistant" };

export class MessageView {
  constructor(messageId, role) {
    this.messageId = messageId;
    this.body = element("div", { class: "body" });
    this.notice = element("p", { class: "notice", hidden: "" });
    this.element = element(
      "article",
      { class: `message ${role}`, "data-message-id": messageId },
      element("h3", { class: "unseen", text: AUTHOR[role] ?? role }),
      this.body,
      this.notice,
    );
    this.place = NOT_PLACED + written++;
    this.question = null;
    this.pending = false;
    this.parts = [];
    this.open = new Map();
    // As the server listed it; what a turn goes on with; the turn that made it.
    this.stored = [];
    this.before = [];
    this.taskId = null;
    this.stepAt = 0;
  }

  /** Where it stands in the conversation. An answer that runs stands behind its question, wherever that is. */
  get sequence() {
    return this.question ? this.question.sequence + 0.5 : this.place;
  }

  set sequence(sequence) {
    this.question = null;
    this.place = sequence;
  }

  /** As before the first chunk: empty, or what the message was when the turn began that goes on with it. */
  restart() {
    this.tell("");
    this.showParts(this.before);
    this.stepAt = this.parts.length;
  }

  /** Show a stored message. What is shown as it should be stays as it is. */
  show(parts, metadata) {
    this.stored = parts;
    this.taskId = metadata?.taskId ?? this.taskId;
    this.showParts(parts);
    this.finished();
    const failure = metadata?.error?.message ?? metadata?.error?.detail;
    if (metadata?.status === "failed") this.tell(failure ?? "The answer failed before its end.", "failure");
    else if (metadata?.status === "cancelled") this.tell("Stopped.");
  }

  showParts(parts) {
    let at = 0;
    for (const part of shownParts(parts)) {
      if (!this.parts[at]?.isOf(part)) {
        this.cutAt(at);
        this.add(viewOf(part));
      }
      this.parts[at].show(part);
      at += 1;
    }
    this.cutAt(at);
    this.open.clear();
  }

  /** Apply the next chunk of the turn. */
  apply(chunk) {
    HANDLERS[chunk.type]?.(this, chunk);
  }

  get isEmpty() {
    return this.parts.length === 0;
  }

  /** A turn is about to write it, or to go on with it. */
  begin(taskId) {
    this.taskId = taskId;
    this.before = this.stored;
    this.restart();
    this.started();
  }

  started() {
    this.element.setAttribute("aria-busy", "true");
    this.element.classList.add("streaming");
  }

  finished() {
    this.element.removeAttribute("aria-busy");
    this.element.classList.remove("streaming");
    for (const part of this.parts) part.end?.();
  }

  /** A sentence below the message, with a button where there is something to do. */
  tell(text, kind = "note", action = null) {
    this.notice.textContent = text;
    this.notice.className = `notice ${kind}`;
    this.notice.hidden = text === "";
    if (action) {
      const button = element("button", { class: "quiet", type: "button", text: action.label });
      button.addEventListener("click", action.run);
      this.notice.append(button);
    }
  }

  setPending(pending) {
    this.pending = pending;
    this.element.classList.toggle("sending", pending);
  }

  add(part) {
    this.parts.push(part);
    this.body.append(part.element);
    return part;
  }

  cutAt(count) {
    for (const part of this.parts.splice(count)) part.element.remove();
  }

  beginText(type, id) {
    this.open.set(`${type} ${id}`, this.add(new TextPart(type)));
  }

  appendText(type, id, delta) {
    this.open.get(`${type} ${id}`)?.node.appendData(delta);
  }

  endText(type, id) {
    const part = this.open.get(`${type} ${id}`);
    this.open.delete(`${type} ${id}`);
    if (part?.node.data === "") this.remove(part);
  }

  remove(part) {
    this.parts.splice(this.parts.indexOf(part), 1);
    part.element.remove();
  }

  resetStep() {
    this.cutAt(this.stepAt);
    this.open.clear();
  }

  /** The call of that id, or undefined. */
  tool(callId) {
    return this.parts.find((part) => part.callId === callId);
  }

  /** The call that a chunk names, which may be its first. */
  call({ toolCallId, toolName, title }) {
    const tool = this.tool(toolCallId) ?? this.add(new ToolPart(toolCallId, toolName));
    tool.begin({ title });
    return tool;
  }

  addEvent(event) {
    const team = AgentTimeline.teamOf(event);
    const known = this.parts.find((part) => part instanceof AgentTimeline && part.team === team);
    (known ?? this.add(new AgentTimeline(team))).add(event);
  }
}

const HANDLERS = {
  __proto__: null,
  start: (view) => view.started(),
  "start-step": (view) => (view.stepAt = view.parts.length),
  "reset-step": (view) => view.resetStep(),
  "text-start": (view, { id }) => view.beginText("text", id),
  "text-delta": (view, { id, delta }) => view.appendText("text", id, delta),
  "text-end": (view, { id }) => view.endText("text", id),
  "reasoning-start": (view, { id }) => view.beginText("reasoning", id),
  "reasoning-delta": (view, { id, delta }) => view.appendText("reasoning", id, delta),
  "reasoning-end": (view, { id }) => view.endText("reasoning", id),
  "tool-input-start": (view, chunk) => view.call(chunk),
  "tool-input-delta": (view, { toolCallId, inputTextDelta }) => view.tool(toolCallId)?.write(inputTextDelta),
  "tool-input-available": (view, chunk) => view.call(chunk).change({ state: "input-available", input: chunk.input }),
  "tool-input-error": (view, chunk) =>
    view.call(chunk).change({ state: "output-error", input: chunk.input, errorText: chunk.errorText }),
  "tool-approval-request": (view, { toolCallId, approvalId }) => view.tool(toolCallId)?.requestApproval(approvalId),
  "tool-output-available": (view, chunk) => view.tool(chunk.toolCallId)?.answer(chunk),
  "tool-output-error": (view, { toolCallId, errorText }) =>
    view.tool(toolCallId)?.change({ state: "output-error", errorText }),
  "tool-output-denied": (view, { toolCallId }) => view.tool(toolCallId)?.change({ state: "output-denied" }),
  "data-agent": (view, { data }) => view.addEvent(data),
  abort: (view) => view.tell("Stopped."),
  error: (view, { errorText }) => {
    view.tell(errorText || "The answer failed.", "failure");
    view.finished();
  },
  finish: (view) => view.finished(),
};
