// The routes for operators. Who asks is a signed-in user with a role, or whoever has typed a key: it is kept for this tab.

const KEY = "sluiceway.ops.key";

export interface Queue {
  kind: string;
  waiting: number;
  in_lanes?: number;
  waiting_seconds: number | null;
  in_flight: number;
  dead_letters: number;
  consumers: { name: string; in_flight: number; idle_seconds: number }[];
}

export interface LiveTurn {
  task_id: string;
  user_id: string | null;
  status: string;
  phase: string;
  attempt: number;
  age_seconds: number;
  holder: string | null;
  holder_idle_seconds: number | null;
  shown: number;
}

export interface DeadLetter {
  id: string;
  queue: string;
  task_id: string | null;
  reason: string;
  created_at: string;
}

export interface Explanation {
  task_id: string;
  sentence: string;
  evidence: string[];
}

export interface Finding {
  name: string;
  ok: boolean;
  detail: string;
}

export interface Feedback {
  message_id: string;
  session_id: string;
  task_id: string | null;
  user_id: string | null;
  model: string | null;
  comment: string;
  given_at: string;
}

export interface FeedbackSum {
  model: string | null;
  up: number;
  down: number;
}

export interface Overview {
  sums: FeedbackSum[];
  feedback: Feedback[];
  sentence: string;
  queues: Queue[];
  turns: LiveTurn[];
  letters: DeadLetter[];
  findings: Finding[];
}

/** `status` 401 and 403: this person may not look, or act. 0: nobody answered. */
export class Refused extends Error {
  readonly status: number;

  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

export const readKey = (): string => sessionStorage.getItem(KEY) ?? "";
export const keepKey = (key: string): void => sessionStorage.setItem(KEY, key);

async function request<T>(method: string, path: string): Promise<T> {
  const key = readKey();
  let response: Response;
  try {
    response = await fetch(`/api/ops${path}`, { method, cache: "no-store", headers: key ? { "x-api-key": key } : {} });
  } catch {
    throw new Refused("The gateway does not answer.", 0);
  }
  const body = (await response.json().catch(() => ({}))) as T & { detail?: string };
  if (!response.ok) throw new Refused(body.detail ?? `The gateway answered ${response.status}.`, response.status);
  return body;
}

export async function overview(): Promise<Overview> {
  const [load, queues, turns, letters, doctor, feedback] = await Promise.all([
    request<{ sentence: string }>("GET", "/load"),
    request<{ queues: Queue[] }>("GET", "/queues"),
    request<{ turns: LiveTurn[] }>("GET", "/turns"),
    request<{ dead_letters: DeadLetter[] }>("GET", "/dead-letters"),
    request<{ findings: Finding[] }>("GET", "/doctor"),
    request<{ sums: FeedbackSum[]; feedback: Feedback[] }>("GET", "/feedback?rating=down"),
  ]);
  return {
    sentence: load.sentence,
    queues: queues.queues,
    turns: turns.turns,
    letters: letters.dead_letters,
    findings: doctor.findings,
    sums: feedback.sums,
    feedback: feedback.feedback,
  };
}

const id = encodeURIComponent;
export const explain = (taskId: string) => request<Explanation>("GET", `/turns/${id(taskId)}/explanation`);
export const cancel = (taskId: string) => request<unknown>("POST", `/turns/${id(taskId)}/cancel`);
export const requeue = (taskId: string) => request<unknown>("POST", `/turns/${id(taskId)}/requeue`);
export const replay = (letterId: string) => request<unknown>("POST", `/dead-letters/${id(letterId)}/replay`);
export const remove = (letterId: string) => request<unknown>("DELETE", `/dead-letters/${id(letterId)}`);
