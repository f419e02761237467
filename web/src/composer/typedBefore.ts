// What somebody has written into the box of index.html before the page's program was there.

interface Typed {
  text: string;
  start: number;
  end: number;
}

let typed: Typed | null = null;

/** Before the first rendering, which puts the page in the place of that box. */
export function keepTyped(): void {
  const box = document.querySelector("textarea");
  // Enter is meant to send, and is none of the message's.
  if (box?.value) typed = { text: box.value.trimEnd(), start: box.selectionStart, end: box.selectionEnd };
}

/** Once: it belongs into the first box that there is. */
export function takeTyped(): Typed | null {
  const taken = typed;
  typed = null;
  return taken;
}
