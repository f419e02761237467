// What a browser keeps for the page. Where it keeps nothing, or is full, everything works for as long as the page is open.

const memory = new Map<string, string>();

export function recall<T>(key: string, otherwise: T): T {
  try {
    const text = localStorage.getItem(key) ?? memory.get(key);
    return text === undefined || text === null ? otherwise : (JSON.parse(text) as T);
  } catch {
    return otherwise;
  }
}

// How the page looks is nobody's secret.
const LEFT = "sluiceway.preferences";

/** All that a person has written here, as another one may be next. */
export function forgetAll(): void {
  memory.clear();
  for (const key of Object.keys(localStorage)) if (key.startsWith("sluiceway") && key !== LEFT) localStorage.removeItem(key);
}

/** Call this when another tab has changed it. */
export function onChanged(key: string, changed: () => void): void {
  window.addEventListener("storage", (event) => event.key === key && changed());
}

export function remember(key: string, value: unknown): void {
  const text = JSON.stringify(value);
  memory.set(key, text);
  try {
    localStorage.setItem(key, text);
  } catch {
    // A full or forbidden storage costs what the page would know after a reload, nothing else.
  }
}
