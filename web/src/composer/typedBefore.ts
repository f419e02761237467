// What somebody has written into the box of index.html before the page's program was there, or before the page was asked for
// again as that did not come (renewal.js).


interface Typed {
  text: string;
  start: number;
  end: number;
}

const KEPT = "sw:typed";

let typed: Typed | null = null;

/** Before the first rendering, which puts the page in the place of that box. */
export function keepTyped(): void {
  const box = document.querySelector("textarea");
  // Enter is meant to send, and is none of the message's.
  if (box?.value) typed = { text: box.value.trimEnd(), start: box.selectionStart, end: box.selectionEnd };
  try {
    const text = sessionStorage.getItem(KEPT);
    sessionStorage.removeItem(KEPT);
    if (text) typed ??= { text, start: text.length, end: text.length };
  } catch {
    // A browser that keeps nothing: nothing was kept.
  }
}

/** Nobody can write before he is signed in: it is there then. */
export function leaveTyped(): void {
  const text = document.querySelector("textarea")?.value;
  if (text) sessionStorage.setItem(KEPT, text);
}

/** Once: it belongs into the first box that there is. */
export function takeTyped(): Typed | null {
  const taken = typed;
  typed = null;
  return taken;
}
