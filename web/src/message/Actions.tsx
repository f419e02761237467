import type { UIMessage } from "ai";
import { useState } from "react";
import { useConversation } from "../conversation/context.ts";
import { dataOf, textOf } from "../conversation/history.ts";
import { CopyButton } from "../ui/CopyButton.tsx";
import { focusBox } from "../ui/focused.ts";
import { Icon } from "../ui/Icon.tsx";
import { locale, useWords } from "../words/words.ts";
import { Branches } from "./Branches.tsx";
import { Thumbs } from "./Thumbs.tsx";

/** What can be done with an answer. */
export function AnswerActions({ message, idle, isLast }: { message: UIMessage; idle: boolean; isLast: boolean }) {
  const words = useWords();
  const conversation = useConversation();
  const [details, setDetails] = useState(false);
  const { siblings, feedback, sequence } = dataOf(message);
  return (
    <div className="actions">
      {idle && siblings && <Branches messageId={message.id} siblings={siblings} />}
      {textOf(message) && <CopyButton label={words.copy} text={() => textOf(message)} />}
      {idle && isLast && (
        <button type="button" className="icon" title={words.regenerate} aria-label={words.regenerate} onClick={() => (focusBox(), void conversation.regenerate(message.id))}>
          <Icon name="again" />
        </button>
      )}
      <button type="button" className="icon" title={words.details} aria-label={words.details} aria-expanded={details} onClick={() => setDetails(!details)}>
        <Icon name="info" />
      </button>
      {sequence !== undefined && <Thumbs messageId={message.id} feedback={feedback} />}
      {details && <Details message={message} />}
    </div>
  );
}

/** All digits that are told: an answer may cost a millionth. */
const dollars = (cost: number) => cost.toLocaleString(locale(), { style: "currency", currency: "USD", maximumFractionDigits: 9 });

/** Usage, on demand. */
function Details({ message }: { message: UIMessage }) {
  const words = useWords();
  const { usage = {}, model, cost, createdAt } = dataOf(message);
  const first = (...names: string[]) => names.map((name) => usage[name]).find((value) => typeof value === "number") as number | undefined;
  const rows: [string, string | undefined][] = [
    [words.at, createdAt && new Date(createdAt).toLocaleString(locale())],
    [words.model, model],
    [words.tokensIn, first("prompt_tokens", "input_tokens", "inputTokens")?.toLocaleString(locale())],
    [words.tokensOut, first("completion_tokens", "output_tokens", "outputTokens")?.toLocaleString(locale())],
    [words.cost, typeof cost === "number" ? dollars(cost) : undefined],
  ];
  return (
    <dl className="usage">
      {rows.map(([name, value]) => value && (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
