// A conversation that somebody has shared: read by anybody who has its link, and nothing else.

import type { UIMessage } from "ai";
import { useEffect, useState } from "react";
import { readShared, type SharedPage } from "../client/api.ts";
import { Problem } from "../client/problem.ts";
import { textOf } from "../conversation/history.ts";
import { AnswerBody, calledIn } from "../message/Message.tsx";
import { readPreferences } from "../settings/preferences.ts";
import { OldPage } from "../ui/OldPage.tsx";
import { locale, sentenceOf, useWords, wordsIn, WordsContext, type Said } from "../words/words.ts";

type Seen = SharedPage["messages"][number];

const saidOf = (error: Problem): Said => (error.code === "SHARE_NOT_FOUND" ? (words) => words.linkGone : sentenceOf(error));

export function Shared({ token }: { token: string }) {
  const words = wordsIn(readPreferences().language);
  return (
    <WordsContext value={words}>
      <Conversation token={token} />
    </WordsContext>
  );
}

function Conversation({ token }: { token: string }) {
  const words = useWords();
  const [page, setPage] = useState<SharedPage | null>(null);
  const [problem, setProblem] = useState<Said | null>(null);
  const load = async (before?: SharedPage) => {
    try {
      const read = await readShared(token, before?.messages[0]?.sequence);
      setPage({ ...read, messages: [...read.messages, ...(before?.messages ?? [])] });
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setProblem(() => saidOf(error));
    }
  };
  useEffect(() => void load(), []);
  const title = page?.title ?? words.sharedConversation;
  useEffect(() => {
    document.title = title;
  }, [title]);
  return (
    <main className="shared">
      <header>
        <h1 id="title" dir="auto">
          {title}
        </h1>
        <a className="button" href="/">
          {words.startOwn}
        </a>
      </header>
      <OldPage />
      <div className="stage">
        <div id="log" role="region" aria-label={words.messages} tabIndex={0}>
          <div id="column">
            {problem && <p role="alert">{problem(words)}</p>}
            {!page && !problem && <p className="soft">{words.loading}</p>}
            {page && <p className="soft">{words.readOnly(new Date(page.shared_at).toLocaleString(locale()))}</p>}
            {page?.has_more && (
              <button type="button" className="button" onClick={() => void load(page)}>
                {words.showEarlier}
              </button>
            )}
            <div id="messages">{page && messagesOf(page).map((message, n, all) => <Message key={message.id} message={message} called={calledIn(all[n - 1])} />)}</div>
          </div>
        </div>
      </div>
    </main>
  );
}

function Message({ message, called }: { message: UIMessage; called: string }) {
  const words = useWords();
  const text = textOf(message);
  if (message.role !== "user")
    return (
      <article className="message assistant">
        <h2 className="unseen">{words.assistant}</h2>
        <AnswerBody message={message} streaming={false} background={false} called={called} />
      </article>
    );
  // Nobody wrote it: it brought the results of tools that ran on.
  if (message.parts.length === 0) return null;
  return (
    <article className="message user">
      <h2 className="unseen">{words.you}</h2>
      <div className="body">
        {message.parts.some((part) => part.type === "data-withheld") && <p className="notice note">{words.fileNotShared}</p>}
        {text && (
          <div className="text" dir="auto">
            {text}
          </div>
        )}
      </div>
    </article>
  );
}

function messagesOf({ messages }: SharedPage): UIMessage[] {
  return messages.map(({ sequence, role, parts }: Seen) => ({ id: String(sequence), role, parts: parts as UIMessage["parts"] }));
}
