import type { UIMessage } from "ai";
import { textOf } from "../conversation/history.ts";
import type { Words } from "../words/words.ts";

/** Save what was said as a file of markdown. */
export function saveMessages(title: string, messages: UIMessage[], words: Words): void {
  const said = messages.map((message) => `## ${message.role === "user" ? words.you : words.assistant}\n\n${textOf(message).trim()}\n`);
  const url = URL.createObjectURL(new Blob([`# ${title}\n\n${said.join("\n")}`], { type: "text/markdown" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = `${title.replace(/[^\p{L}\p{N} _-]+/gu, "").slice(0, 60) || "chat"}.md`;
  link.click();
  URL.revokeObjectURL(url);
}
