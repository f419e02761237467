// What a team of agents thinks, does and says, as a list that grows.

import { element } from "./dom.js";

const NEAR_PX = 48;
const WORDS = {
  __proto__: null,
  start: "begins",
  thought: "thinks",
  action: "acts",
  output: "says",
  end: "is done",
  error: "failed",
  complete: "all done",
};

export class AgentTimeline {
  constructor(team) {
    this.team = team;
    this.items = new Map();
    // A list that can be scrolled must be reachable by the keyboard.
    this.list = element("ol", { tabindex: "0", "aria-label": "What the agents do" });
    this.element = element("section", { class: "agents", "aria-label": "Agents" }, element("h4", { text: "Agents" }), this.list);
  }

  /** Which team an event is of: teams that work side by side do not mix. */
  static teamOf(event) {
    return event?.operation_id ?? "";
  }

  isOf(part) {
    return part.type === "data-agent" && part.team === this.team;
  }

  show({ events }) {
    for (const event of events) this.add(event);
  }

  /** The next event; with the number of an earlier one, in place of that: a team that was interrupted begins anew. */
  add(event) {
    if (!event) return;
    const following = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < NEAR_PX;
    const known = this.items.get(event.sequence);
    const fresh = item(event);
    if (!known) this.list.append(fresh);
    else if (!known.isEqualNode(fresh)) known.replaceWith(fresh);
    else return;
    this.items.set(event.sequence ?? fresh, fresh);
    if (following) this.list.scrollTop = this.list.scrollHeight;
  }
}

function item({ agent_name: name, event_type: type, content }) {
  const head = element(
    "p",
    {},
    element("strong", { text: name || "Team" }),
    " ",
    element("span", { class: "soft", text: WORDS[type] ?? String(type ?? "") }),
  );
  const said = typeof content === "string" ? content : JSON.stringify(content ?? "", null, 2);
  const made = element("li", { "data-event": type ?? "" }, head);
  if (said && said !== '""') made.append(element("div", { class: "text", dir: "auto", text: said }));
  return made;
}
