// One message. It is rendered again only when it, or what is said about it, has changed.

import type { UIMessage } from "ai";
import { memo } from "react";
import { useConversation } from "../conversation/context.ts";
import { dataOf, filesOf, textOf } from "../conversation/history.ts";
import type { Pending } from "../conversation/pending.ts";
import { Markdown } from "../markdown/Markdown.tsx";
import { BusyButton } from "../ui/BusyButton.tsx";
import { CopyButton } from "../ui/CopyButton.tsx";
import { focusBox } from "../ui/focused.ts";
import { Icon } from "../ui/Icon.tsx";
import { useWords } from "../words/words.ts";
import { AnswerActions } from "./Actions.tsx";
import { Agents } from "./Agents.tsx";
import { File, Sources } from "./Attached.tsx";
import { Branches } from "./Branches.tsx";
import { EditBox } from "./EditBox.tsx";
import { withoutCode } from "./names.ts";
import { shownParts, toolNameOf, type ContextState, type Shown } from "./parts.ts";
import { Reasoning } from "./Reasoning.tsx";
import { Tool } from "./Tool.tsx";
import { Undelivered } from "./Undelivered.tsx";

const NONE: UIMessage["parts"] = [];

interface AnswerProps {
  message: UIMessage;
  streaming: boolean;
  /** Its tools run on, while the conversation does. */
  background: boolean;
  /** The tool that the question calls by its name, or "". */
  called: string;
  idle: boolean;
  isLast: boolean;
}

export const Answer = memo(function Answer({ message, streaming, background, called, idle, isLast }: AnswerProps) {
  const words = useWords();
  const conversation = useConversation();
  return (
    <article className={`message assistant${streaming ? " streaming" : ""}`} data-message-id={message.id} aria-busy={streaming || undefined}>
      <h2 className="unseen">{words.assistant}</h2>
      <AnswerBody message={message} streaming={streaming} background={background} called={called} />
      {background && (
        <p className="notice note">
          {words.runsOn}
          <BusyButton className="quiet" onClick={() => (focusBox(), conversation.stopBackground(message))}>
            {words.endIt}
          </BusyButton>
        </p>
      )}
      {!streaming && <Ending message={message} idle={idle} isLast={isLast} />}
      {!streaming && message.parts.length > 0 && <AnswerActions message={message} idle={idle} isLast={isLast} />}
    </article>
  );
});

/** What is said in an answer, without what can be done with it. */
export function AnswerBody({ message, streaming, background, called }: Pick<AnswerProps, "message" | "streaming" | "background" | "called">) {
  const parts = shownParts(message.parts);
  const { reasoningSeconds: seconds } = dataOf(message);
  return (
    <div className="body">
      {parts.map((part, n) => (
        <Part key={part.key} part={part} seconds={seconds} messageId={message.id} over={!streaming && !background} called={called} growing={streaming && n === parts.length - 1} />
      ))}
    </div>
  );
}

function Ending({ message, idle, isLast }: { message: UIMessage; idle: boolean; isLast: boolean }) {
  const words = useWords();
  const conversation = useConversation();
  const { status, error, finishReason } = dataOf(message);
  if (status === "cancelled") return <p className="notice note">{words.stopped}</p>;
  if (status !== "failed") return finishReason === "length" ? <CutShort asks={idle && isLast} /> : null;
  return (
    <div className="ending">
      <p className="notice failure">{withoutCode(error?.message ?? error?.detail ?? "") || words.failed}</p>
      {idle && isLast && (
        <button type="button" className="quiet" onClick={() => (focusBox(), void conversation.regenerate(message.id))}>
          {words.retry}
        </button>
      )}
    </div>
  );
}

/** Asks for the rest as a person would: a message of its own, which stands in the conversation. */
function CutShort({ asks }: { asks: boolean }) {
  const words = useWords();
  const conversation = useConversation();
  return (
    <p className="notice note">
      {words.cutShort}
      {asks && (
        <button type="button" className="quiet" onClick={() => (focusBox(), conversation.send(words.continueMessage))}>
          {words.continueAnswer}
        </button>
      )}
    </p>
  );
}

interface PartProps {
  part: Shown;
  /** Of the message's reasoning. */
  seconds?: Record<string, number>;
  messageId: string;
  over: boolean;
  called: string;
  growing: boolean;
}

function Part({ part, seconds, messageId, over, called, growing }: PartProps) {
  const words = useWords();
  switch (part.kind) {
    case "text":
      return <Markdown className="text" text={part.text} open={growing} />;
    case "reasoning":
      return <Reasoning text={part.text} open={part.open && !over} seconds={seconds?.[part.place]} />;
    case "tool":
      return <Tool messageId={messageId} call={part.call} elicitation={part.elicitation} over={over} direct={called !== "" && toolNameOf(part.call) === called} />;
    case "agents":
      return <Agents events={part.events} />;
    case "file":
      return <File url={part.url} mediaType={part.mediaType} name={part.name} />;
    case "unread":
      return <p className="notice note">{words.fileUnread(part.name, part.problem)}</p>;
    case "withheld":
      return <p className="notice note">{words.fileNotShared}</p>;
    case "sources":
      return <Sources sources={part.sources} />;
    case "context":
      return <p className="notice context">{words.context(part.context.state ?? "", percentOf(part.context), part.context.reason)}</p>;
  }
}

function percentOf({ usedTokens = 0, windowTokens = 0, roomTokens = windowTokens }: ContextState) {
  return roomTokens > 0 ? Math.min(100, Math.round((100 * usedTokens) / roomTokens)) : 0;
}

interface QuestionProps {
  id: string;
  text: string;
  /** In which its files are. */
  parts?: Readonly<UIMessage["parts"]>;
  pending?: Pending;
  editing: boolean;
  idle: boolean;
  siblings?: string[];
  /** Nothing follows it: its answer was stopped, or failed, before its first word. */
  unanswered?: boolean;
  onEdit: (id: string | null) => void;
}

export const Question = memo(function Question({ id, text, parts = NONE, pending, editing, idle, siblings, unanswered = false, onEdit }: QuestionProps) {
  const words = useWords();
  const conversation = useConversation();
  const close = () => {
    const { activeElement } = document;
    // Not from where somebody has gone while it was being sent.
    if (activeElement === document.body || activeElement?.closest(".edit")) focusBox();
    onEdit(null);
  };
  /** The box stays until its text is on its way. */
  const send = async (changed: string) => {
    const isSent = await conversation.edit(id, changed);
    if (isSent) close();
    return isSent;
  };
  return (
    <article className={`message user${pending?.state === "sending" ? " sending" : ""}`} data-message-id={id}>
      <h2 className="unseen">{words.you}</h2>
      {editing ? (
        <EditBox id={id} text={text} idle={idle} onSend={send} onCancel={close} />
      ) : (
        <div className="body">
          {filesOf([...parts]).map(({ url, mediaType, filename }) => (
            <File key={url} url={url} mediaType={mediaType} name={filename} />
          ))}
          {text !== "" && (
            <div className="text" dir="auto">
              {text}
            </div>
          )}
        </div>
      )}
      {pending?.notice && <Undelivered pending={pending} />}
      {unanswered && !pending && !editing && idle && (
        <p className="notice note">
          {words.unanswered}
          <button type="button" className="quiet" onClick={() => (focusBox(), void conversation.regenerate(id))}>
            {words.answerIt}
          </button>
        </p>
      )}
      {!pending && !editing && idle && (
        <div className="actions">
          {siblings && <Branches messageId={id} siblings={siblings} />}
          {text !== "" && <CopyButton label={words.copyMessage} text={() => text} />}
          <button type="button" className="icon" title={words.edit} aria-label={words.edit} onClick={() => onEdit(id)}>
            <Icon name="edit" />
          </button>
        </div>
      )}
    </article>
  );
});

/** The tool that a message calls by its name: `/current_time`. */
export function calledIn(message: UIMessage | undefined): string {
  return message?.role === "user" ? (/^\/(\S+)/.exec(textOf(message))?.[1] ?? "") : "";
}
