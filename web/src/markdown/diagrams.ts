// Diagrams are drawn in a frame of their own, which is made when the first one is there: see src/diagram/main.ts.

interface Answer {
  ready?: boolean;
  gone?: boolean;
  id?: number;
  svg?: string | null;
}

// Fetching what draws them included.
const PATIENCE_MS = 20_000;

let frame: { element: HTMLIFrameElement; ready: Promise<void> } | null = null;
let newest = 0;
/** Undefined: the frame is gone. */
const waiting = new Map<number, (svg: string | null | undefined) => void>();

function frameOf(): NonNullable<typeof frame> {
  if (frame) return frame;
  const element = document.createElement("iframe");
  element.className = "drawing";
  element.setAttribute("sandbox", "allow-scripts");
  element.setAttribute("aria-hidden", "true");
  element.tabIndex = -1;
  element.src = "/static/diagram.html";
  const ready = new Promise<void>((resolve) => {
    addEventListener("message", ({ data, source }: MessageEvent<Answer>) => {
      if (source !== element.contentWindow || typeof data !== "object" || data === null) return;
      if (data.ready) return resolve();
      if (data.gone) {
        leave(element);
        for (const drawn of waiting.values()) drawn(undefined);
      }
      if (typeof data.id !== "number") return;
      waiting.get(data.id)?.(typeof data.svg === "string" ? data.svg : null);
    });
  });
  document.body.append(element);
  return (frame = { element, ready });
}

/** The next one gets another frame. */
function leave(element: HTMLIFrameElement): void {
  if (frame?.element === element) frame = null;
  element.remove();
}

/** The address of a picture; null: it cannot be drawn, or not in time. `again`: in another frame, where this one is gone. */
export async function drawn(code: string, dark: boolean, again = true): Promise<string | null> {
  const { element, ready } = frameOf();
  const id = (newest += 1);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const svg = await new Promise<string | null | undefined>((resolve) => {
    waiting.set(id, resolve);
    timer = setTimeout(() => {
      // Perhaps it hangs.
      leave(element);
      resolve(null);
    }, PATIENCE_MS);
    void ready.then(() => element.contentWindow?.postMessage({ id, code, dark }, "*"));
  });
  clearTimeout(timer);
  waiting.delete(id);
  if (svg === undefined && again) return drawn(code, dark, false);
  return svg == null ? null : `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
}

const SYSTEM = matchMedia("(prefers-color-scheme: dark)");

export const isDark = (): boolean => (document.documentElement.dataset.theme ?? (SYSTEM.matches ? "dark" : "light")) === "dark";

export function onAppearance(changed: () => void): () => void {
  const observer = new MutationObserver(changed);
  observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  SYSTEM.addEventListener("change", changed);
  return () => {
    observer.disconnect();
    SYSTEM.removeEventListener("change", changed);
  };
}
