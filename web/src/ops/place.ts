/** Back to what has the focus now; where it is gone by then, to the row in its place, or to the table. */
export function placeOf(element: Element | null): () => void {
  const table = element?.closest("section");
  const at = element?.closest("tr")?.sectionRowIndex ?? 0;
  return () => {
    if (!(element instanceof HTMLElement)) return;
    if (element.isConnected) return element.focus();
    const rows = [...(table?.querySelectorAll("tbody tr") ?? [])];
    // A key that is pressed twice may not do to the next row what was meant for the first: its first button shows it.
    (rows[Math.min(at, rows.length - 1)]?.querySelector("button") ?? table)?.focus();
  };
}
