import { useWords } from "../words/words.ts";

/** In the place of what is on its way; not seen where that is there at once. */
export function Loading() {
  return <p className="soft late">{useWords().loading}</p>;
}
