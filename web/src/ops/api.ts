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

/** `body`: what the entry asked for. */
export interface Letter extends DeadLetter {
  deliveries: number;
  entry_id: string;
  body: string;
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

export interface Process {
  component: string;
  name: string;
  version: string;
  lacks: string;
}

export interface OpenOperation {
  operation_id: string;
  task_id: string;
  tool_name: string;
  waits_for: string;
  runner: string | null;
  runner_idle_seconds?: number | null;
  age_seconds: number;
  deadline_seconds: number;
}

export interface Use {
  name: string | null;
  turns: number;
  live: number;
  tokens: number;
  cost: number;
  unpriced: number;
}

/** `findings`: also what could not be asked. `unknown`: those parts, by their paths. */
export interface Overview {
  unknown: ReadonlySet<string>;
  sums: FeedbackSum[];
  feedback: Feedback[];
  sentence: string;
  queues: Queue[];
  turns: LiveTurn[];
  operations: OpenOperation[];
  letters: DeadLetter[];
  processes: Process[];
  users: Use[];
  sessions: Use[];
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

/** Whether a message would be accepted and answered. It wants no key, and says which part is away. */
export async function readiness(): Promise<Finding[]> {
  const response = await fetch("/readyz", { cache: "no-store" }).catch(() => null);
  const body = (await response?.json().catch(() => null)) as { checks?: Record<string, { ok: boolean; detail: string }> } | null;
  return Object.entries(body?.checks ?? {}).map(([name, { ok, detail }]) => ({ name: `probe: ${name}`, ok, detail }));
}

/** Each part by itself: in the night in which the page is needed most, some of them are away. */
export async function overview(): Promise<Overview> {
  const away: Finding[] = [];
  const unknown = new Set<string>();
  const part = async <T>(path: string, otherwise: T): Promise<T> => {
    try {
      return await request<T>("GET", path);
    } catch (error) {
      if (!(error instanceof Refused) || [0, 401, 403].includes(error.status)) throw error;
      const name = path.split("?")[0]!.slice(1);
      unknown.add(name);
      away.push({ name: `asking ${name}`, ok: false, detail: error.message });
      return otherwise;
    }
  };
  const [load, queues, turns, operations, letters, processes, top, doctor, feedback] = await Promise.all([
    part("/load", { sentence: "" }),
    part("/queues", { queues: [] as Queue[] }),
    part("/turns", { turns: [] as LiveTurn[] }),
    part("/operations", { operations: [] as OpenOperation[] }),
    part("/dead-letters", { dead_letters: [] as DeadLetter[] }),
    part("/processes", { processes: [] as Process[], silent: {} as Record<string, number> }),
    part("/top", { users: [] as Use[], sessions: [] as Use[] }),
    part("/doctor", { findings: [] as Finding[] }),
    part("/feedback?rating=down", { sums: [] as FeedbackSum[], feedback: [] as Feedback[] }),
  ]);
  return {
    unknown,
    sentence: load.sentence,
    queues: queues.queues,
    turns: turns.turns,
    operations: operations.operations,
    letters: letters.dead_letters,
    processes: [
      ...processes.processes,
      ...Object.entries(processes.silent).map(([name, seconds]) => ({
        component: "?",
        name,
        version: "?",
        lacks: `silent for ${Math.round(seconds)} s: frozen or dead`,
      })),
    ],
    users: top.users,
    sessions: top.sessions,
    findings: [
      ...doctor.findings,
      ...away,
    ],
    sums: feedback.sums,
    feedback: feedback.feedback,
  };
}

const id = encodeURIComponent;
export const explain = (taskId: string) => request<Explanation>("GET", `/turns/${id(taskId)}/explanation`);
export const cancel = (taskId: string) => request<unknown>("POST", `/turns/${id(taskId)}/cancel`);
export const requeue = (taskId: string) => request<unknown>("POST", `/turns/${id(taskId)}/requeue`);
export const letter = (letterId: string) => request<Letter>("GET", `/dead-letters/${id(letterId)}`);
export const replay = (letterId: string) => request<unknown>("POST", `/dead-letters/${id(letterId)}/replay`);
export const remove = (letterId: string) => request<unknown>("DELETE", `/dead-letters/${id(letterId)}`);
