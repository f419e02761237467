// One message on the page, built from its stored parts or from the chunks of a running turn.
//
// Whatever a person or a model wrote gets into the page as text alone, never as markup. A chunk of an unknown type, or
// one whose beginning is missing, changes nothing.

export function element(tag, { text, ...attributes } = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

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
    this.restart();
  }

  /** Where it stands in the conversation. An answer that runs stands behind its question, wherever that is. */
  get sequence() {
    return this.question ? this.question.sequence + 0.5 : this.place;
  }

  set sequence(sequence) {
    this.question = null;
    this.place = sequence;
  }

  /** Empty, as before the first chunk. */
  restart() {
    this.body.replaceChildren();
    this.open = new Map();
    this.stepAt = 0;
    this.tell("");
  }

  /** Show a stored message. What is shown as it should be stays as it is. */
  show(parts, metadata) {
    const shown = parts.filter((part) => part.type in PARTS && part.text);
    const same =
      shown.length === this.body.children.length &&
      shown.every((part, n) => isShown(this.body.children[n], part.type, part.text));
    if (!same) {
      this.body.replaceChildren(...shown.map((part) => newPart(part.type, part.text).element));
    }
    this.open.clear();
    this.finished();
    const failure = metadata?.error?.message ?? metadata?.error?.detail;
    if (metadata?.status === "failed") this.tell(failure ?? "The answer failed before its end.", "failure");
    else if (metadata?.status === "cancelled") this.tell("Stopped.");
  }

  /** Apply the next chunk of the turn. */
  apply(chunk) {
    HANDLERS[chunk.type]?.(this, chunk);
  }

  get isEmpty() {
    return this.body.childElementCount === 0;
  }

  started() {
    this.element.setAttribute("aria-busy", "true");
    this.element.classList.add("streaming");
  }

  finished() {
    this.element.removeAttribute("aria-busy");
    this.element.classList.remove("streaming");
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

  begin(type, id) {
    const part = newPart(type, "");
    this.open.set(`${type} ${id}`, part);
    this.body.append(part.element);
  }

  append(type, id, delta) {
    this.open.get(`${type} ${id}`)?.node.appendData(delta);
  }

  end(type, id) {
    const part = this.open.get(`${type} ${id}`);
    this.open.delete(`${type} ${id}`);
    if (part?.node.data === "") part.element.remove();
  }

  resetStep() {
    while (this.body.children.length > this.stepAt) this.body.lastElementChild.remove();
    this.open.clear();
  }
}

const HANDLERS = {
  __proto__: null,
  start: (view) => view.started(),
  "start-step": (view) => (view.stepAt = view.body.children.length),
  "reset-step": (view) => view.resetStep(),
  "text-start": (view, { id }) => view.begin("text", id),
  "text-delta": (view, { id, delta }) => view.append("text", id, delta),
  "text-end": (view, { id }) => view.end("text", id),
  "reasoning-start": (view, { id }) => view.begin("reasoning", id),
  "reasoning-delta": (view, { id, delta }) => view.append("reasoning", id, delta),
  "reasoning-end": (view, { id }) => view.end("reasoning", id),
  abort: (view) => view.tell("Stopped."),
  error: (view, { errorText }) => {
    view.tell(errorText || "The answer failed.", "failure");
    view.finished();
  },
  finish: (view) => view.finished(),
};

// How a part of each kind looks: the element that stands in the body, and the text in it that grows.
const PARTS = { __proto__: null, text: textPart, reasoning: reasoningPart };

function newPart(type, text) {
  const node = document.createTextNode(text);
  return { element: PARTS[type](node), node };
}

function textPart(node) {
  return element("div", { class: "text", dir: "auto" }, node);
}

function reasoningPart(node) {
  return element(
    "details",
    { class: "reasoning" },
    element("summary", { text: "Reasoning" }),
    element("div", { class: "text", dir: "auto" }, node),
  );
}

function isShown(shown, type, text) {
  const written = shown.matches(".text") ? shown : shown.querySelector(".text");
  return shown.matches(type === "text" ? "div" : "details") && written.textContent === text;
}
