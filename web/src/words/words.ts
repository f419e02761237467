// What the page says, in the language that was chosen, or that the browser prefers.

import { createContext, useContext } from "react";
import { ar } from "./ar.ts";
import { de } from "./de.ts";
import { en } from "./en.ts";
import type { Problem } from "../client/problem.ts";

export type Words = typeof en;
/** A sentence that is put into words where it is shown. */
export type Said = (words: Words) => string;

export const CATALOGUES: Record<string, Words> = { en, de, ar };

export function preferredLanguage(): string {
  const wanted = navigator.languages.map((language) => language.split("-")[0]!);
  return wanted.find((language) => Object.hasOwn(CATALOGUES, language)) ?? "en";
}

export const WordsContext = createContext<Words>(en);
export const useWords = (): Words => useContext(WordsContext);

/** A refusal as a sentence for a person: ours where there is one, else the server's. */
export function sentenceOf(problem: Problem): Said {
  const most = problem.limit?.toLocaleString() ?? "";
  const { code, status, message, mayGoOn } = problem;
  const hours = Math.max(1, Math.ceil(problem.retryAfterMs / 3_600_000));
  return (words) => {
    if (code === "UNREACHABLE") return words.unreachable;
    if (code === "MESSAGE_TOO_LONG" && most) return words.tooLong(most);
    if (code === "BUDGET_REACHED") return mayGoOn ? words.budgetAsks : words.budgetReached(hours);
    if (status === 429 && most) return words.tooMany(most);
    if (status === 503) return words.unavailable;
    if (status === 401) return words.signIn;
    if (status === 403) return words.notYours;
    if (code === "SESSION_NOT_FOUND") return words.noSuchConversation;
    if (status >= 500) return words.somethingWrong;
    return message || words.notAccepted;
  };
}
