// The plain routes of the gateway. Every failure is a Problem.

import { isAbort, Problem, problemOf } from "./problem.ts";
import { backoffMs, isOffline, sleep, untilOnline } from "./waiting.ts";

const BASE = "/api/chat";
const id = encodeURIComponent;

export interface Session {
  id: string;
  title: string | null;
  created_at: string;
  updated_at: string;
}

export interface StoredMessage {
  id: string;
  role: "user" | "assistant";
  parts: Record<string, unknown>[];
  sequence: number;
  created_at: string;
  metadata: Record<string, unknown> | null;
  /** Where there are branches: the ids of those that may stand in its place, and its own among them. */
  siblings?: string[] | null;
}

export interface ActiveTask {
  task_id: string;
  status: string;
  message_id: string;
  stream_url?: string;
}

export interface SessionDetail extends Session {
  messages: StoredMessage[];
  has_more: boolean;
  active_task: ActiveTask | null;
  /** Turns that made way for a message; their tools run on. */
  background_tasks?: ActiveTask[];
}

export interface Task {
  task_id: string;
  message_id: string;
  assistant_message_id: string;
  ended_at: string | null;
  stream_url: string;
}

export interface Tool {
  name: string;
  title: string | null;
  description: string;
  approval: boolean;
  parameters?: { properties?: Record<string, ToolArgument>; required?: string[] };
  text_field?: string | null;
}

export interface ToolArgument {
  type?: string;
  description?: string;
  enum?: unknown[];
}

interface Asked {
  body?: unknown;
  file?: File;
  signal?: AbortSignal;
  keepalive?: boolean;
}

async function request<T>(method: string, path: string, { body, file, signal, keepalive }: Asked = {}): Promise<T> {
  const headers: Record<string, string> = body === undefined ? {} : { "content-type": "application/json" };
  const options: RequestInit = { method, headers, cache: "no-store" };
  if (signal) options.signal = signal;
  if (keepalive) options.keepalive = true;
  if (body !== undefined) options.body = JSON.stringify(body);
  // The browser says its type, where it knows one.
  if (file !== undefined) options.body = file;
  let response: Response;
  try {
    response = await fetch(path === "/config" ? path : BASE + path, options);
    if (response.ok) return (response.status === 204 ? undefined : await response.json()) as T;
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new Problem("", { code: "UNREACHABLE" });
  }
  throw await problemOf(response);
}

export const listSessions = (cursor?: string | null) =>
  request<{ sessions: Session[]; next_cursor: string | null }>("GET", `/sessions${cursor ? `?cursor=${id(cursor)}` : ""}`);
export const renameSession = (sessionId: string, title: string) =>
  request<Session>("PATCH", `/sessions/${id(sessionId)}`, { body: { title } });
export const deleteSession = (sessionId: string) =>
  request<void>("DELETE", `/sessions/${id(sessionId)}`, { keepalive: true });
/** 409: a turn runs. */
export const showBranch = (sessionId: string, messageId: string) =>
  request<void>("POST", `/sessions/${id(sessionId)}/branch`, { body: { message_id: messageId } });
export const getTask = (taskId: string, signal: AbortSignal) => request<Task>("GET", `/tasks/${id(taskId)}`, { signal });
export const cancelTask = (taskId: string) => request<unknown>("POST", `/tasks/${id(taskId)}/cancel`);
export const listTools = () => request<{ tools: Tool[] }>("GET", "/tools");

export interface FoundMessage {
  session_id: string;
  session_title: string | null;
  message_id: string;
  snippet: string;
}

export const searchMessages = (text: string, signal: AbortSignal) =>
  request<{ messages: FoundMessage[] }>("GET", `/search?limit=20&q=${id(text.slice(0, 200))}`, { signal });
export const readUnderstanding = () => request<{ facts: Record<string, unknown> }>("GET", "/me/understanding");
/** Without a name: all that is known. */
export const forgetFact = (name?: string) =>
  request<void>("DELETE", `/me/understanding${name === undefined ? "" : `?fact=${id(name)}`}`);

export function getSession(sessionId: string, { before, signal }: { before?: number; signal: AbortSignal }) {
  const query = before === undefined ? "" : `?before_sequence=${before}`;
  return request<SessionDetail>("GET", `/sessions/${id(sessionId)}${query}`, { signal });
}

/** Safe to send again: the message's id is the key under which a repeat is recognised. */
export const postMessage = (sessionId: string, messageId: string, message: string, policy: "interrupt" | undefined, more: { over_budget?: true; files?: { url: string }[] } = {}) =>
  request<{ position: number }>("POST", `/sessions/${id(sessionId)}/messages`, { body: { id: messageId, message, ...(policy && { policy }), ...more } });

export interface FileLimits {
  types: string[];
  most: number;
  mostBytes: number;
}

export async function fileLimits(): Promise<FileLimits> {
  const told = await request<{ file_types: string[]; limits: { max_files_per_message: number; max_file_bytes: number } }>("GET", "/config");
  return { types: told.file_types, most: told.limits.max_files_per_message, mostBytes: told.limits.max_file_bytes };
}

export interface StoredFile {
  id: string;
  url: string;
  name: string;
  media_type: string;
}

/** The body is the file itself. What its browser calls it is told; the server looks at what is in it. */
export const uploadFile = (file: File, signal: AbortSignal) =>
  request<StoredFile>("POST", `/files?name=${id(file.name.slice(-200))}`, { file, signal });

/** 404: never asked for; 409: answered already; 410: no longer wanted. */
export const answerApproval = (taskId: string, toolCallId: string, approved: boolean, reason: string) =>
  request<{ status: "recorded" | "accepted" }>("POST", `/tasks/${id(taskId)}/approvals/${id(toolCallId)}`, {
    body: { approved, ...(reason && { reason }) },
  });

/** A refusal for what is too much, with the number that is not in every answer. */
export async function withLimit(problem: Problem): Promise<Problem> {
  if (problem.code !== "TOO_MANY_TASKS" || problem.limit !== null) return problem;
  try {
    const { limits } = await request<{ limits: { max_queued_per_session: number } }>("GET", "/config");
    return new Problem(problem.message, { ...problem, limit: limits.max_queued_per_session });
  } catch {
    return problem;
  }
}

interface Persistence {
  signal?: AbortSignal;
  onWait: (problem: Problem) => void;
  tries?: number;
}

/** Call `action` until it succeeds or fails for good. A machine without a network is waited for, and counts no try. */
export async function persist<T>(action: () => Promise<T>, { signal, onWait, tries = Infinity }: Persistence): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof Problem) || !error.passing) throw error;
      if (isOffline()) attempt = -1;
      else if (attempt + 1 >= tries) throw error;
      onWait(error);
      await untilOnline(signal);
      await sleep(error.retryAfterMs + backoffMs(Math.max(attempt, 0)), signal);
    }
  }
}
