import { createContext, useContext } from "react";
import type { Conversation } from "./conversation.ts";

export const ConversationContext = createContext<Conversation | null>(null);

export function useConversation(): Conversation {
  const conversation = useContext(ConversationContext);
  if (!conversation) throw new Error("There is no conversation around this.");
  return conversation;
}
