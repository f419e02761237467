/** Every failure of a request is a Problem, whose message is the server's sentence. No codes for people in it. */
export class Problem extends Error {
  /** 0: no answer came. */
  readonly status: number;
  readonly code: string;
  /** What the server asked for, or 0. */
  readonly retryAfterMs: number;
  /** The limit that was passed, where the server names one. */
  readonly limit: number | null;
  /** The day's budget is used up, and a person may say to go on all the same. */
  readonly mayGoOn: boolean;

  constructor(
    message: string,
    { status = 0, code = "", retryAfterMs = 0, limit = null, mayGoOn = false }: Partial<Pick<Problem, "status" | "code" | "retryAfterMs" | "limit" | "mayGoOn">> = {},
  ) {
    super(message);
    this.name = "Problem";
    this.status = status;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
    this.limit = limit;
    this.mayGoOn = mayGoOn;
  }

  /** Whether the same request may succeed later, in a time that one waits for: a day's budget is none. */
  get passing(): boolean {
    if (this.code === "BUDGET_REACHED") return false;
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

let onUnknown = (): void => {};

/** What is done where the server wants to know who asks. */
export const whenUnknown = (act: () => void): void => void (onUnknown = act);

/** Reads the Problem out of a response that is no success: JSON, or the sentence alone, with its code beside it. */
export async function problemOf(response: Response): Promise<Problem> {
  if (response.status === 401) onUnknown();
  const { status, headers } = response;
  const text = await response.text().catch(() => "");
  const body = objectIn(text);
  const sentence = headers.get("content-type")?.startsWith("text/plain") ? text : "";
  const limits = Object.entries(body).filter(([name, value]) => name.startsWith("max_") && typeof value === "number");
  return new Problem(typeof body.detail === "string" ? body.detail : sentence, {
    status,
    code: typeof body.code === "string" ? body.code : (headers.get("x-error-code") ?? ""),
    retryAfterMs: retryAfterMs(response),
    limit: (limits[0]?.[1] as number | undefined) ?? null,
    mayGoOn: body.may_go_on === true,
  });
}

function objectIn(text: string): Record<string, unknown> {
  try {
    return (JSON.parse(text) as Record<string, unknown> | null) ?? {};
  } catch {
    return {};
  }
}

/** What the server asked for, in seconds or as a date, or 0. */
export function retryAfterMs({ headers }: Response): number {
  const asked = headers.get("retry-after") ?? "";
  // By the server's clock: that of the browser may be days off.
  const now = Date.parse(headers.get("date") ?? "") || Date.now();
  const ms = /^\d+$/.test(asked) ? Number(asked) * 1000 : Date.parse(asked) - now;
  return Math.max(0, ms || 0);
}

/** A network that wants a sign-in first answers every request with a page of its own, as if all were well. */
export const isNoAnswer = ({ ok, headers }: Response): boolean => ok && (headers.get("content-type")?.startsWith("text/html") ?? false);

export const isAbort = (error: unknown): boolean => error instanceof Error && error.name === "AbortError";
