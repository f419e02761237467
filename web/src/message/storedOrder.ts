/** With its names in the order in which the server stores them (that of Postgres's jsonb): what a tool has just answered stands so
 * from the first, and not in another order once its answer has ended. */
export function inStoredOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inStoredOrder);
  if (typeof value !== "object" || value === null) return value;
  const sorted = Object.entries(value).sort(([one], [other]) => one.length - other.length || (one < other ? -1 : 1));
  return Object.fromEntries(sorted.map(([name, inner]) => [name, inStoredOrder(inner)]));
}
