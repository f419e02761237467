// Messages as the server stores them, for `useChat`.

import type { UIMessage } from "ai";
import type { Feedback, StoredMessage } from "../client/api.ts";
import type { Attachment } from "./outbox.ts";

export interface MessageData {
  taskId?: string;
  status?: string;
  finishReason?: string;
  error?: { message?: string; detail?: string };
  usage?: Record<string, unknown>;
  model?: string;
  cost?: unknown;
  reasoningSeconds?: Record<string, number>;
  sequence?: number;
  createdAt?: string;
  siblings?: string[];
  feedback?: Feedback;
}

export const dataOf = (message: UIMessage): MessageData => (message.metadata ?? {}) as MessageData;
export const sequenceOf = (message: UIMessage): number => dataOf(message).sequence ?? Infinity;

export function textOf(message: UIMessage): string {
  return message.parts.map((part) => (part.type === "text" ? part.text : "")).join("");
}

/** A message that nobody wrote: it brings the results of tools that ran on. */
export const bringsResults = (message: UIMessage): boolean => message.parts.some((part) => part.type === "data-results");

/** The files that a person has sent with a message. */
export function filesOf(parts: UIMessage["parts"]): Attachment[] {
  return parts.flatMap((part) => (part.type === "file" ? [{ type: part.type, url: part.url, filename: part.filename ?? "", mediaType: part.mediaType }] : []));
}

function messageOf({ id, role, parts, sequence, created_at, metadata, siblings, feedback }: StoredMessage): UIMessage {
  return { id, role, parts: parts.map(partOf), metadata: { ...metadata, sequence, createdAt: created_at, ...(siblings && { siblings }), ...(feedback && { feedback }) } };
}

/** A call that a person has answered is not waiting any more, whatever its state was when the message was stored. */
function partOf(part: Record<string, unknown>): UIMessage["parts"][number] {
  const approval = part.approval as { approved?: boolean } | undefined;
  const answered = part.state === "approval-requested" && approval?.approved !== undefined;
  return (answered ? { ...part, state: "approval-responded" } : part) as UIMessage["parts"][number];
}

/** The messages of a page; those that are as they were stay the same objects, and are not rendered again. */
export function pageOf(stored: StoredMessage[], known: UIMessage[]): UIMessage[] {
  const before = new Map(known.map((message) => [message.id, message]));
  return stored.map((one) => {
    const message = messageOf(one);
    const same = before.get(one.id);
    return same && JSON.stringify(same) === JSON.stringify(message) ? same : message;
  });
}

/** Where the messages begin that wait behind the turn that runs: those after its question, or after its answer. */
export function waitingFrom(messages: UIMessage[], answerId: string, questionId: string | null): number {
  const answer = messages.findIndex((message) => message.id === answerId);
  const question = questionId === null ? -1 : messages.findIndex((message) => message.id === questionId);
  if (answer >= 0 || question >= 0) return Math.max(answer, question) + 1;
  return messages.length;
}

/** How many user messages stand at the end. */
export function trailing(messages: UIMessage[]): number {
  return messages.length - 1 - messages.findLastIndex((message) => message.role === "assistant");
}

const withOne = (messages: UIMessage[], id: string, change: (message: UIMessage) => UIMessage): UIMessage[] =>
  messages.map((message) => (message.id === id ? change(message) : message));

/** The messages, before the server has told them again: with what a person thinks of an answer. */
export function withFeedback(messages: UIMessage[], id: string, feedback: Feedback | null): UIMessage[] {
  return withOne(messages, id, (message) => {
    const { feedback: _, ...metadata } = dataOf(message);
    return { ...message, metadata: { ...metadata, ...(feedback && { feedback }) } };
  });
}

/** And with a person's answer to a tool that asked first. */
export function withApproval(messages: UIMessage[], id: string, toolCallId: string, answer: { approved: boolean; reason?: string }): UIMessage[] {
  return withOne(messages, id, (message) => ({
    ...message,
    parts: message.parts.map((part) =>
      "toolCallId" in part && part.toolCallId === toolCallId ? ({ ...part, state: "approval-responded", approval: { ...part.approval, ...answer } } as typeof part) : part,
    ),
  }));
}
