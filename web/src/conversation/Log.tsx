// The messages of the conversation that is shown.

import { useChat, type Chat } from "@ai-sdk/react";
import type { UIMessage } from "ai";
import { useEffect, useImperativeHandle, useLayoutEffect, useRef, type Ref } from "react";
import { AwaitedAnswer } from "../message/AwaitedAnswer.tsx";
import { Answer, calledIn, Question } from "../message/Message.tsx";
import { useWords } from "../words/words.ts";
import { useConversation } from "./context.ts";
import { Suggestions, type Suggested } from "./Suggestions.tsx";
import type { Snapshot } from "./state.ts";
import { bringsResults, dataOf, textOf } from "./history.ts";
import type { Pending } from "./pending.ts";
import { useLatestFirst } from "./useLatestFirst.ts";
import { useReading } from "./useReading.ts";
import { useScroll } from "./useScroll.ts";

// So many messages are laid out at once; of more, those that are out of sight are not.
const MANY = 60;
const FRAME_MS = 40;

export interface LogHandle {
  toEnd: () => void;
}

interface Props {
  chat: Chat<UIMessage>;
  state: Snapshot;
  editing: string | null;
  onEdit: (id: string | null) => void;
  suggested: Suggested;
  handle: Ref<LogHandle>;
}

export function Log({ chat, state, editing, onEdit, suggested, handle }: Props) {
  const words = useWords();
  const { messages: known } = useChat({ chat, experimental_throttle: FRAME_MS });
  const last = known.at(-1);
  // Until the chat has all of it, what was read of the answer stands there: the chat begins with its first chunk.
  const isBehind = state.early !== "" && state.running && last?.role === "assistant" && !textOf(last).startsWith(state.early);
  const messages = isBehind ? known.slice(0, -1) : known;
  const undrawn = useLatestFirst(messages.length);
  const { scroller, column, away, onScroll, toEnd, toMessage, stay } = useScroll(messages[undrawn]?.id);
  useReading(column, state.running);
  const conversation = useConversation();
  const isCaughtUp = state.early !== "" && last?.role === "assistant" && !isBehind;
  useLayoutEffect(() => {
    if (isCaughtUp) conversation.caughtUp();
  }, [isCaughtUp, conversation]);
  const isFound = state.sought !== null && messages.some((message, n) => n >= undrawn && message.id === state.sought);
  useLayoutEffect(() => {
    if (!isFound) return;
    toMessage(state.sought!);
    conversation.found();
  }, [isFound, state.sought, conversation, toMessage]);
  // The box of an edit has come into sight with its focus, and is not left for the newest line.
  useLayoutEffect(() => {
    if (editing !== null) stay();
  }, [editing, stay]);
  useImperativeHandle(handle, () => ({ toEnd }), [toEnd]);
  const isEmpty = messages.length === 0 && state.pending.length === 0;
  return (
    <div className="stage">
      <div id="log" ref={scroller} role="log" aria-live="off" aria-label={words.messages} tabIndex={0} onScroll={onScroll}>
        <div id="column" ref={column}>
          {state.hasOlder && undrawn === 0 && <Older root={scroller} />}
          {isEmpty && <p id="welcome">{state.loaded ? (state.exists ? "" : words.welcome) : words.loading}</p>}
          {isEmpty && state.loaded && !state.exists && <Suggestions {...suggested} />}
          <Messages messages={messages} undrawn={undrawn} state={state} editing={editing} onEdit={onEdit} />
        </div>
      </div>
      {away && (
        <button id="jump" type="button" className="button" onClick={toEnd}>
          {words.newest}
        </button>
      )}
    </div>
  );
}

function Messages({ messages, undrawn, state, editing, onEdit }: Omit<Props, "chat" | "handle" | "suggested"> & { messages: UIMessage[]; undrawn: number }) {
  const words = useWords();
  const { pending, running, answerId } = state;
  const told = new Map(pending.map((one) => [one.id, one]));
  const shown = new Set(messages.map((message) => message.id));
  const last = messages.at(-1);
  // Not under what is still to be sent.
  const isWaiting = running && last?.role === "user" && !told.get(last.id)?.notice;
  return (
    <div id="messages" className={messages.length > MANY ? "many" : undefined}>
      {messages.map((message, n) =>
        n < undrawn ? null : bringsResults(message) ? (
          <p key={message.id} className="notice note" data-message-id={message.id}>
            {words.resultsCame}
          </p>
        ) : message.role === "user" ? (
          <Question key={message.id} id={message.id} text={textOf(message)} parts={message.parts} pending={told.get(message.id)} editing={editing === message.id} idle={!running} siblings={dataOf(message).siblings} unanswered={state.loaded && n === messages.length - 1} onEdit={onEdit} />
        ) : (
          <Answer
            key={message.id}
            message={message}
            streaming={running && (message.id === answerId || (answerId === null && n === messages.length - 1))}
            background={state.background.includes(message.id)}
            called={calledIn(messages[n - 1])}
            idle={!running}
            isLast={n === messages.length - 1}
          />
        ),
      )}
      {isWaiting && <AwaitedAnswer key={answerId ?? "next"} text={state.early} />}
      {pending.filter((one) => !shown.has(one.id)).map((one) => (
        <QueuedQuestion key={one.id} one={one} onEdit={onEdit} />
      ))}
    </div>
  );
}

const QueuedQuestion = ({ one, onEdit }: { one: Pending; onEdit: Props["onEdit"] }) => (
  <Question id={one.id} text={one.text} parts={one.files} pending={one} editing={false} idle={false} onEdit={onEdit} />
);

/** Comes into sight before the reader reaches it, and brings what is older. */
function Older({ root }: { root: React.RefObject<HTMLDivElement | null> }) {
  const words = useWords();
  const conversation = useConversation();
  const mark = useRef<HTMLParagraphElement>(null);
  useEffect(() => {
    const seen = ([entry]: IntersectionObserverEntry[]) => void (entry?.isIntersecting && conversation.showOlder().then(lookAgain));
    const observer = new IntersectionObserver(seen, { root: root.current, rootMargin: "2000px 0px" });
    const lookAgain = () => {
      if (!mark.current) return;
      observer.unobserve(mark.current);
      observer.observe(mark.current);
    };
    observer.observe(mark.current!);
    return () => observer.disconnect();
  }, [conversation, root]);
  return (
    <p ref={mark} className="older">
      {words.loadingOlder}
    </p>
  );
}
