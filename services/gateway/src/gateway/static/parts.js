// What a message consists of. Each kind has an `element`, `isOf(part)`: is this stored part its own, and `show(part)`.

import { AgentTimeline } from "./agents.js";
import { element } from "./dom.js";
import { ToolPart } from "./tool.js";

/** Text or reasoning, which grows. */
export class TextPart {
  constructor(type) {
    this.type = type;
    this.node = document.createTextNode("");
    const text = element("div", { class: "text", dir: "auto" }, this.node);
    this.element = type === "text" ? text : folded(text);
  }

  isOf(part) {
    return part.type === this.type;
  }

  show(part) {
    if (this.node.data !== part.text) this.node.data = part.text;
  }
}

function folded(text) {
  return element("details", { class: "reasoning" }, element("summary", { text: "Reasoning" }), text);
}

/** The name of the tool that a stored part is a call of, or null. */
export function toolIn({ type, toolCallId, toolName }) {
  if (!toolCallId) return null;
  return type === "dynamic-tool" ? (toolName ?? "") : type.replace(/^tool-/, "");
}

/** Of stored parts those that are shown; the events of one team of agents are one part. */
export function shownParts(parts) {
  const shown = [];
  for (const part of parts) {
    if (part.type === "data-agent") gather(shown, part.data);
    else if (toolIn(part) || ((part.type === "text" || part.type === "reasoning") && part.text)) shown.push(part);
  }
  return shown;
}

function gather(shown, event) {
  const team = AgentTimeline.teamOf(event);
  const known = shown.find((part) => part.events && part.team === team);
  if (known) known.events.push(event);
  else shown.push({ type: "data-agent", team, events: [event] });
}

export function viewOf(part) {
  if (part.events) return new AgentTimeline(part.team);
  const name = toolIn(part);
  return name === null ? new TextPart(part.type) : new ToolPart(part.toolCallId, name);
}
