// Parts of the page's program that are fetched when they are needed. A page of a version that the gateway no longer has gets none of
// them any more: it is whole without them, and says that it is old (ui/OldPage.tsx).

import { flag } from "./flag.ts";
import { Problem } from "./problem.ts";

export const pageIsOld = flag();

/** Throws a Problem: one that passes, and who asks again has it fetched again; or `PAGE_IS_OLD`. */
export async function fetched<Part>(part: () => Promise<Part>): Promise<Part> {
  try {
    return await part();
  } catch {
    if (!pageIsOld.snapshot() && !(await isReplaced())) throw new Problem("", { code: "UNREACHABLE" });
    pageIsOld.set(true);
    throw new Problem("", { code: "PAGE_IS_OLD", status: 410 });
  }
}

async function isReplaced(): Promise<boolean> {
  const own = document.querySelector<HTMLScriptElement>("script[type=module][src]")?.getAttribute("src");
  const page = await fetch(location.pathname, { cache: "no-cache" }).then((answer) => (answer.ok ? answer.text() : ""), () => "");
  return own != null && page.includes("<script type=\"module\"") && !page.includes(own);
}
