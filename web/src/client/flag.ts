/** Something that is wanted or not, for `useSyncExternalStore`. */
export function flag() {
  const listeners = new Set<() => void>();
  let wanted = false;
  return {
    subscribe: (listener: () => void): (() => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    snapshot: (): boolean => wanted,
    set: (now: boolean): void => {
      wanted = now;
      for (const listener of listeners) listener();
    },
  };
}
