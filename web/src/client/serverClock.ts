// What time it is, by the server's clock: that of the browser may be days off, and be set while the page is open.

let told = Date.now();
let toldAt = performance.now();

/** Each answer says when it was made. */
export function noteTime({ headers }: Response): void {
  const at = Date.parse(headers.get("date") ?? "");
  if (Number.isNaN(at)) return;
  told = at;
  toldAt = performance.now();
}

export const serverNow = (): number => told + performance.now() - toldAt;
