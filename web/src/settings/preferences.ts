import { recall, remember } from "../storage.ts";
import { isThere, LANGUAGES, preferredLanguage, wordsIn } from "../words/words.ts";

export type Theme = "system" | "light" | "dark";

export interface Preferences {
  theme: Theme;
  language: string;
  notify: boolean;
}

const STORED = "sluiceway.preferences";

export function readPreferences(): Preferences {
  const { theme, language, notify } = recall<Partial<Preferences>>(STORED, {});
  return {
    theme: theme === "light" || theme === "dark" ? theme : "system",
    language: language && LANGUAGES.has(language) ? language : preferredLanguage(),
    notify: notify === true,
  };
}

export function keepPreferences(preferences: Preferences): void {
  remember(STORED, preferences);
}

/** Put them onto the document, as far as their words are there. */
export function applyPreferences({ theme, language }: Preferences): void {
  const { documentElement } = document;
  documentElement.lang = isThere(language) ? language : "en";
  documentElement.dir = wordsIn(language).direction;
  if (theme === "system") delete documentElement.dataset.theme;
  else documentElement.dataset.theme = theme;
}
