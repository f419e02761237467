// What the page says, in the language that was chosen, or that the browser prefers. English comes with the program; another
// language is fetched beside it (early.js), and where it does not come the page speaks English.

import { createContext, useContext } from "react";
import { en } from "./en.ts";
import type { Problem } from "../client/problem.ts";
import { fetched } from "../client/program.ts";

export type Words = typeof en;
/** A sentence that is put into words where it is shown. */
export type Said = (words: Words) => string;

const OTHERS: Record<string, { name: string; fetch: () => Promise<Words> }> = {
  de: { name: "Deutsch", fetch: async () => (await import("./de.ts")).de },
  ar: { name: "العربية", fetch: async () => (await import("./ar.ts")).ar },
};

/** Each language as it is called in itself. */
export const LANGUAGES = new Map([["en", en.language], ...Object.entries(OTHERS).map(([code, { name }]): [string, string] => [code, name])]);

const there = new Map([["en", en]]);

/** English where there is nothing else yet. */
export const wordsIn = (language: string): Words => there.get(language) ?? en;
export const isThere = (language: string): boolean => there.has(language);

/** Throws a Problem where they do not come. */
export async function fetchWords(language: string): Promise<void> {
  const other = OTHERS[language];
  if (other && !isThere(language)) there.set(language, await fetched(other.fetch));
}

export function preferredLanguage(): string {
  const wanted = navigator.languages.map((language) => language.split("-")[0]!);
  return wanted.find((language) => LANGUAGES.has(language)) ?? "en";
}

export const WordsContext = createContext<Words>(en);
export const useWords = (): Words => useContext(WordsContext);

/** How numbers and times are written: as the page is, and in the browser's own manner of it. All digits are the same ones. */
export function locale(): string {
  const { lang } = document.documentElement;
  return `${navigator.languages.find((one) => one.split("-")[0] === lang) ?? lang}-u-nu-latn`;
}

/** "5 minutes", in the page's language. */
function duration(ms: number): string {
  const [unit, length] = ms < 60_000 ? ["second", 1000] : ms < 3_600_000 ? ["minute", 60_000] : ["hour", 3_600_000];
  return new Intl.NumberFormat(locale(), { style: "unit", unit, unitDisplay: "long" }).format(Math.max(1, Math.ceil(ms / length)));
}

/** A refusal as a sentence for a person: ours where there is one, else the server's. */
export function sentenceOf(problem: Problem): Said {
  const { code, status, message, mayGoOn, retryAfterMs } = problem;
  return (words) => {
    const most = problem.limit?.toLocaleString(locale()) ?? "";
    if (code === "UNREACHABLE") return words.unreachable;
    if (code === "PAGE_IS_OLD") return words.pageIsOld;
    if (code === "STREAM_GONE") return words.failed;
    if (code === "MESSAGE_TOO_LONG" && most) return words.tooLong(most);
    if (code === "BUDGET_REACHED") return mayGoOn ? words.budgetAsks : words.budgetReached(duration(retryAfterMs));
    if (code === "TOO_MANY_TASKS" && most) return words.tooMany(most);
    if (status === 429) return words.tooOften(retryAfterMs > 0 ? duration(retryAfterMs) : "");
    if (status === 503) return words.unavailable;
    if (status === 401) return words.signIn;
    if (status === 403) return words.notYours;
    if (code === "SESSION_NOT_FOUND") return words.noSuchConversation;
    if (status >= 500) return words.somethingWrong;
    return message || words.notAccepted;
  };
}
