/** A name in words: `generate_document` is "Generate document". */
export function titled(name: string): string {
  const words = name.replace(/[_\-.]+/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1) || "Tool";
}

/** The beginning of a text, cut at a word, as a title. */
export function firstWords(text: string, most = 48): string {
  const line = text.trim().replace(/\s+/g, " ");
  if (line.length <= most) return line;
  const cut = line.slice(0, most + 1);
  const end = cut.lastIndexOf(" ");
  return `${cut.slice(0, end > most / 2 ? end : most).trim()}…`;
}

/** What a failure says to a person: the sentence behind the code of programs, if there is one. */
export const withoutCode = (text: string): string => text.replace(/^[A-Z][A-Z0-9_]{2,}: +/, "");
