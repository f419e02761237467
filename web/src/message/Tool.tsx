// One tool call in an answer: what was asked for, how it goes, what came of it.
//
// Arguments and result are folded away; progress, documents, failures and what a person is asked for are not, and
// neither is a short result where the person has called the tool without a model in between.

import { useEffect, useRef, useState } from "react";
import { Markdown } from "../markdown/Markdown.tsx";
import { useWords } from "../words/words.ts";
import { Approval } from "./Approval.tsx";
import { File } from "./Attached.tsx";
import { titled, withoutCode } from "./names.ts";
import { inStoredOrder } from "./storedOrder.ts";
import { toolNameOf, type Elicitation, type ToolCall } from "./parts.ts";
import { documentIn, filesIn, plainResult, progressOf, stateOf, stateWord, withoutDocument, type ToolState } from "./toolState.ts";

// A browser needs long for a text that nobody reads.
const MOST_SHOWN = 50_000;

interface Props {
  messageId: string;
  call: ToolCall;
  elicitation?: Elicitation;
  over: boolean;
  /** The person called it by its name. */
  direct: boolean;
}

export function Tool({ messageId, call, elicitation, over, direct }: Props) {
  const words = useWords();
  const summary = useRef<HTMLElement>(null);
  const [open, setOpen] = useState(false);
  const name = toolNameOf(call);
  const title = call.title ?? titled(name);
  const state = stateOf(call, over);
  const document = documentIn(call);
  // Who decides should see on what.
  useEffect(() => {
    if (state === "waiting") setOpen(true);
  }, [state]);
  return (
    <div className="tool" role="group" data-tool-call-id={call.toolCallId} data-state={state} aria-label={words.tool(title)}>
      <details open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary ref={summary}>
          <span className="name">{title}</span> <span className="state">{stateWord(state, words)}</span>
        </summary>
        <p className="soft">
          <code>{name}</code>
        </p>
        <Field label={words.arguments} value={call.input} />
        <Field label={words.result} value={state === "done" ? withoutDocument(call) : undefined} />
      </details>
      <Note call={call} state={state} />
      {state === "running" && <Bar call={call} title={title} />}
      {direct && state === "done" && document === null && <Plain output={call.output} />}
      {filesIn(call).map(({ url, mediaType, name: file }) => (
        <File key={url} url={url} mediaType={mediaType} name={file} />
      ))}
      {document !== null && <Markdown className="document" text={document} open={state === "running"} />}
      {state === "waiting" && <Approval messageId={messageId} key={call.approval?.id} callId={call.toolCallId} title={title} elicitation={elicitation} keepFocus={() => summary.current?.focus()} />}
    </div>
  );
}

function Note({ call, state }: { call: ToolCall; state: ToolState }) {
  const { message, percent } = progressOf(call, state);
  const share = percent === undefined ? "" : ` (${Math.round(percent)} %)`;
  let note = "";
  if (state === "running") note = `${message ?? ""}${share}`.trim();
  else if (state === "failed" || state === "cancelled") note = withoutCode(call.errorText ?? "");
  else if (state === "denied") note = call.approval?.reason ?? "";
  return (
    <p className="note" dir="auto" hidden={note === ""}>
      {note}
    </p>
  );
}

function Bar({ call, title }: { call: ToolCall; title: string }) {
  const words = useWords();
  const { percent, message } = progressOf(call, "running");
  return <progress max={100} value={percent} aria-label={words.progressOf(title)} aria-valuetext={message} />;
}

/** The result, in the open. */
function Plain({ output }: { output: unknown }) {
  const rows = plainResult(output);
  if (!rows) return null;
  if (rows.length === 1) return <output className="plain" dir="auto">{rows[0]![1]}</output>;
  return (
    <dl className="plain">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{titled(name)}</dt>
          <dd dir="auto">{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** Arguments or a result: JSON, or text as text, within bounds. */
function Field({ label, value }: { label: string; value: unknown }) {
  const words = useWords();
  const text = written(value);
  if (text === "") return null;
  return (
    <div className="field">
      <h3>{label}</h3>
      <pre tabIndex={0} role="region" aria-label={label} dir="auto">
        {text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}\n${words.notAll}` : text}
      </pre>
    </div>
  );
}

function written(value: unknown): string {
  if (value === undefined) return "";
  if (typeof value === "string") return value;
  const text = JSON.stringify(inStoredOrder(value), null, 2);
  return text === "{}" ? "" : text;
}
