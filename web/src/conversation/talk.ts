// `useChat`'s chat of one conversation, and its transport. See talking.ts.

import { Chat } from "@ai-sdk/react";
import type { UIMessage } from "ai";
import { newId } from "../client/ids.ts";
import { PageTransport, type Listener } from "../client/transport.ts";

export { saveMessages } from "../app/exported.ts";
export { printWhen } from "../app/printed.ts";
export { SignedOut } from "../app/SignedOut.tsx";
export { TokenDialog } from "../app/TokenDialog.tsx";
export { Archive } from "../settings/Archive.tsx";
export { Settings } from "../settings/Settings.tsx";
export { Shared } from "../share/Shared.tsx";
export { ShareDialog } from "../share/ShareDialog.tsx";
export { BackgroundTurns } from "./background.ts";
export { Log } from "./Log.tsx";

export interface Talk {
  chat: Chat<UIMessage>;
  transport: PageTransport;
}

export function makeTalk(sessionId: string, listener: Listener, onError: (error: Error) => void): Talk {
  const transport = new PageTransport(listener);
  return { transport, chat: new Chat<UIMessage>({ id: sessionId, transport, generateId: newId, onError }) };
}
