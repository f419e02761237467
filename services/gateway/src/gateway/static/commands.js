// The tools that a message may call by `/name`, offered while that name is being written: a combobox with a list.
//
// Where the tools cannot be read there is no list, and what is written is sent as it is.

import { listTools } from "./api.js";
import { element } from "./dom.js";

const FRESH_MS = 15_000;

export class CommandList {
  /** `text`: the textarea; `list`: an empty element beside it; `onPick()` is called after a name was put in. */
  constructor({ text, list, onPick }) {
    Object.assign(this, { text, list, onPick });
    this.tools = [];
    this.readAt = -Infinity;
    this.found = [];
    this.active = 0;
    // A press on the list must not take the focus away from the text.
    list.addEventListener("pointerdown", (event) => event.preventDefault());
    list.addEventListener("click", (event) => this.clicked(event));
    text.addEventListener("blur", () => this.close());
  }

  get isOpen() {
    return !this.list.hidden;
  }

  /** What stands between the slash and the caret, or null where no name is being written. */
  get word() {
    const { value, selectionStart, selectionEnd } = this.text;
    if (selectionStart !== selectionEnd) return null;
    return /^\/(\S*)$/.exec(value.slice(0, selectionStart))?.[1] ?? null;
  }

  /** The text has changed. */
  async update() {
    this.show();
    if (this.word === null || performance.now() - this.readAt < FRESH_MS) return;
    this.readAt = performance.now();
    try {
      this.tools = (await listTools()).tools ?? [];
    } catch {
      this.tools = [];
    }
    this.show();
  }

  show() {
    this.found = this.word === null || document.activeElement !== this.text ? [] : fitting(this.tools, this.word);
    if (this.found.length === 0) return this.close();
    this.list.replaceChildren(...this.found.map(option));
    this.list.hidden = false;
    this.text.setAttribute("role", "combobox");
    this.text.setAttribute("aria-expanded", "true");
    this.text.setAttribute("aria-controls", this.list.id);
    this.activate(0);
  }

  close() {
    if (!this.isOpen) return;
    this.list.hidden = true;
    for (const name of ["role", "aria-expanded", "aria-controls", "aria-activedescendant"]) this.text.removeAttribute(name);
  }

  activate(position) {
    this.active = (position + this.found.length) % this.found.length;
    for (const [n, item] of [...this.list.children].entries()) item.setAttribute("aria-selected", String(n === this.active));
    const item = this.list.children[this.active];
    this.text.setAttribute("aria-activedescendant", item.id);
    item.scrollIntoView({ block: "nearest" });
  }

  /** Whether the key was meant for the list. */
  key(event) {
    if (!this.isOpen || event.isComposing || event.shiftKey) return false;
    const { key } = event;
    if (key === "ArrowDown") this.activate(this.active + 1);
    else if (key === "ArrowUp") this.activate(this.active - 1);
    else if (key === "Escape") this.close();
    else if (key === "Tab" || (key === "Enter" && !this.isWritten)) this.pick(this.found[this.active]);
    else return false;
    event.preventDefault();
    return true;
  }

  /** Is the whole name there already? Then Enter sends. */
  get isWritten() {
    return this.found[this.active].name === this.word;
  }

  clicked({ target }) {
    const position = [...this.list.children].indexOf(target.closest("[role=option]"));
    if (position >= 0) this.pick(this.found[position]);
  }

  pick({ name }) {
    const rest = this.text.value.slice(this.text.selectionStart).replace(/^\S*\s?/, "");
    this.text.value = `/${name} ${rest}`;
    this.text.selectionStart = this.text.selectionEnd = name.length + 2;
    this.close();
    this.onPick();
  }
}

/** Tools whose name begins so, then those that have the word elsewhere. */
function fitting(tools, word) {
  const wanted = word.toLowerCase();
  const place = ({ name, title }) => {
    if (name.toLowerCase().startsWith(wanted)) return name.length === word.length ? 0 : 1;
    return `${name} ${title ?? ""}`.toLowerCase().includes(wanted) ? 2 : 3;
  };
  return [0, 1, 2].flatMap((at) => tools.filter((tool) => place(tool) === at));
}

function option({ name, title, description, approval }, n) {
  const about = [title, description].filter(Boolean).join(": ") + (approval ? " (asks before it runs)" : "");
  return element(
    "li",
    { role: "option", id: `command-${n}` },
    element("code", { text: `/${name}` }),
    " ",
    element("span", { class: "soft", text: about }),
  );
}
