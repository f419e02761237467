// One tool call in an answer: what was asked for, how it goes, what came of it.
//
// It holds the call as a part of the AI SDK's messages, whether it came from the history or out of chunks, and shows
// that. Arguments and result are folded away; progress, documents, failures and what a person is asked for are not.

import { Approval } from "./approval.js";
import { element, setText } from "./dom.js";
import { MarkdownText } from "./markdown.js";

// A browser needs long for a text that nobody reads.
const MOST_SHOWN = 50_000;

const WORDS = {
  asked: "Asked for",
  running: "Running",
  waiting: "Waiting for you",
  approved: "Approved",
  done: "Done",
  failed: "Failed",
  cancelled: "Cancelled",
  denied: "Denied",
  unfinished: "Not finished",
};

export class ToolPart {
  constructor(callId, name) {
    this.callId = callId;
    this.title = titled(name);
    this.part = { state: "input-streaming" };
    this.over = false;
    this.build(name);
    this.render();
  }

  build(name) {
    this.heading = element("span", { class: "name" });
    this.word = element("span", { class: "state" });
    this.summary = element("summary", {}, this.heading, " ", this.word);
    this.input = new Field("Arguments");
    this.output = new Field("Result");
    const id = element("p", { class: "soft" }, element("code", { text: name }));
    this.details = element("details", {}, this.summary, id, this.input.element, this.output.element);
    this.note = element("p", { class: "note", dir: "auto", hidden: "" });
    this.bar = element("progress", { max: "100", hidden: "" });
    this.document = new MarkdownText();
    this.approval = new Approval();
    const seen = [this.details, this.note, this.bar, this.document.element, this.approval.element];
    this.element = element("div", { class: "tool", role: "group", "data-tool-call-id": this.callId }, ...seen);
    this.element.addEventListener("approval", (event) => (event.detail.tool = this));
  }

  isOf(part) {
    return part.toolCallId === this.callId;
  }

  /** Show the stored part. */
  show(part) {
    this.part = { ...part };
    this.begin(part);
  }

  // Chunks

  /** The call is being written, or was: `title`, if there is one, is what its tool calls itself. */
  begin({ title }) {
    if (title) this.title = title;
    this.over = false;
    this.render();
  }

  write(text) {
    this.part.inputText = (this.part.inputText ?? "") + text;
    this.input.show(this.part.inputText);
  }

  change(fields) {
    Object.assign(this.part, fields);
    this.render();
  }

  requestApproval(id) {
    const { approval } = this.part;
    this.change({ state: "approval-requested", approval: approval?.id === id ? approval : { id } });
  }

  /** What it has so far, or with its end what came of it. Nothing comes after an end. */
  answer({ output, preliminary }) {
    if (preliminary && this.isAnswered) return;
    this.change({ state: "output-available", output, preliminary: preliminary === true });
  }

  get isAnswered() {
    const { state, preliminary } = this.part;
    return (state === "output-available" && !preliminary) || state === "output-error" || state === "output-denied";
  }

  /** The message has come to its end: what has no end by now gets none. */
  end() {
    this.over = true;
    this.render();
  }

  // What a person answered

  sending() {
    this.approval.setBusy(true);
    this.approval.tell("Sending your answer…");
    // The buttons are about to go, and the focus would go with them.
    this.summary.focus();
  }

  answered(approved, reason) {
    this.change({ approval: { ...this.part.approval, approved, ...(reason && { reason }) } });
  }

  notAnswered(sentence) {
    this.approval.setBusy(false);
    this.approval.tell(sentence);
  }

  // How it looks

  get state() {
    const { state, preliminary, approval, errorText } = this.part;
    if (state === "output-denied" || approval?.approved === false) return "denied";
    if (state === "output-error") return errorText?.startsWith("CANCELLED") ? "cancelled" : "failed";
    if (this.isAnswered) return "done";
    if (state === "approval-requested" && approval?.approved === undefined) return "waiting";
    if (state.startsWith("approval-")) return "approved";
    if (this.over) return "unfinished";
    return preliminary ? "running" : "asked";
  }

  get progress() {
    return this.state === "running" && typeof this.part.output === "object" ? (this.part.output ?? {}) : {};
  }

  render() {
    const { state } = this;
    this.element.dataset.state = state;
    this.element.setAttribute("aria-label", `Tool: ${this.title}`);
    this.bar.setAttribute("aria-label", `Progress of ${this.title}`);
    this.approval.element.setAttribute("aria-label", `Approval of ${this.title}`);
    setText(this.heading, this.title);
    setText(this.word, WORDS[state]);
    this.input.show(this.part.input ?? this.part.inputText);
    this.renderProgress();
    this.renderOutput();
    this.renderNote(state);
    this.renderApproval(state === "waiting");
  }

  renderProgress() {
    const { percent, message } = this.progress;
    this.bar.hidden = this.state !== "running";
    if (typeof percent === "number") this.bar.value = Math.min(100, Math.max(0, percent));
    else this.bar.removeAttribute("value");
    if (message) this.bar.setAttribute("aria-valuetext", String(message));
    else this.bar.removeAttribute("aria-valuetext");
  }

  renderOutput() {
    const { output, preliminary } = this.part;
    const text = documentIn(preliminary ? output?.data : output);
    if (text !== null) this.document.show(text);
    this.output.show(this.state === "done" ? withoutDocument(output) : undefined);
  }

  renderNote(state) {
    const { message, percent } = this.progress;
    const { errorText, approval } = this.part;
    const share = typeof percent === "number" ? ` (${Math.round(percent)} %)` : "";
    let note = "";
    if (state === "running") note = `${message ?? ""}${share}`.trim();
    else if (state === "failed" || state === "cancelled") note = errorText ?? "";
    else if (state === "denied") note = approval?.reason ?? "";
    setText(this.note, note);
    this.note.hidden = note === "";
  }

  renderApproval(wanted) {
    if (wanted === this.approval.shown) return;
    this.approval.shown = wanted;
    this.approval.setBusy(false);
    this.approval.tell("");
    // Who decides should see on what.
    if (wanted) this.details.open = true;
  }
}

/** Arguments or a result: JSON, or text as text, within bounds. */
class Field {
  constructor(label) {
    this.content = element("pre", { tabindex: "0", role: "region", "aria-label": label, dir: "auto" });
    this.element = element("div", { class: "field", hidden: "" }, element("h4", { text: label }), this.content);
  }

  show(value) {
    const text = written(value);
    this.element.hidden = text === "";
    setText(this.content, text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}\n… (not all of it is shown)` : text);
  }
}

function written(value) {
  if (value === undefined) return "";
  if (typeof value === "string") return value;
  const text = JSON.stringify(value, null, 2);
  return text === "{}" ? "" : text;
}

/** The markdown in what a tool has given so far, or null. */
function documentIn(output) {
  return typeof output?.markdown === "string" ? output.markdown : null;
}

function withoutDocument(output) {
  if (documentIn(output) === null) return output;
  return Object.fromEntries(Object.entries(output).filter(([name]) => name !== "markdown"));
}

/** A name in words: `generate_document` is "Generate document". */
export function titled(name) {
  const words = name.replace(/[_\-.]+/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1) || "Tool";
}
