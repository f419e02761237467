// Asks a person whether a tool may run. The answer leaves as an `approval` event that bubbles up to the page.

import { element } from "./dom.js";

export class Approval {
  constructor() {
    this.reason = element("input", { type: "text", maxlength: "500", "aria-label": "Reason", placeholder: "Reason, if you like" });
    this.approve = this.button("Approve", true, "button primary");
    this.deny = this.button("Deny", false, "button");
    this.notice = element("p", { class: "notice", hidden: "" });
    this.element = element(
      "div",
      { class: "approval", role: "group", hidden: "" },
      element("p", { text: "This tool runs only if you say so." }),
      this.reason,
      element("div", { class: "buttons" }, this.approve, this.deny),
      this.notice,
    );
  }

  button(text, approved, className) {
    const made = element("button", { type: "button", class: className, text });
    made.addEventListener("click", () => this.answer(approved));
    return made;
  }

  answer(approved) {
    const reason = this.reason.value.trim();
    this.element.dispatchEvent(new CustomEvent("approval", { bubbles: true, detail: { approved, reason } }));
  }

  get shown() {
    return !this.element.hidden;
  }

  set shown(shown) {
    this.element.hidden = !shown;
  }

  setBusy(busy) {
    for (const control of [this.reason, this.approve, this.deny]) control.disabled = busy;
  }

  /** A sentence about how the answer fares. */
  tell(text) {
    this.notice.textContent = text;
    this.notice.hidden = text === "";
  }
}
