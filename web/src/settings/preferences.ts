import { recall, remember } from "../storage.ts";
import { CATALOGUES, preferredLanguage } from "../words/words.ts";

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
    language: language && Object.hasOwn(CATALOGUES, language) ? language : preferredLanguage(),
    notify: notify === true,
  };
}

export function keepPreferences(preferences: Preferences): void {
  remember(STORED, preferences);
}

/** Put them onto the document. */
export function applyPreferences({ theme, language }: Preferences): void {
  const { documentElement } = document;
  documentElement.lang = language;
  documentElement.dir = CATALOGUES[language]!.direction;
  if (theme === "system") delete documentElement.dataset.theme;
  else documentElement.dataset.theme = theme;
}
