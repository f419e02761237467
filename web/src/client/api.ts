// The plain routes of the gateway. Every failure is a Problem.

import { isAbort, Problem, problemOf } from "./problem.ts";
import { noteTime } from "./serverClock.ts";
import { backoffMs, isOffline, sleep, untilOnline } from "./waiting.ts";

const BASE = "/api/chat";
const id = encodeURIComponent;

export interface Session {
  id: string;
  title: string | null;
  created_at: string;
  updated_at: string;
  /** The turn that runs, or is about to. */
  active_task_id?: string | null;
  /** It has stopped for an answer of the person. */
  awaits_you?: boolean;
  /** Since when the person has it pinned. */
  pinned_at?: string | null;
  /** Since when the person has it out of the list. */
  archived_at?: string | null;
  /** It is in no list, and deleted a day after its last message. */
  temporary?: boolean;
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
  feedback?: Feedback | null;
}

export interface Feedback {
  rating: "up" | "down";
  comment: string;
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
  /** Messages that wait to enter the turn that runs. */
  steering?: string[];
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
  anyOf?: ToolArgument[];
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
    noteTime(response);
    if (response.ok) return (response.status === 204 ? undefined : await response.json()) as T;
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new Problem("", { code: "UNREACHABLE" });
  }
  throw await problemOf(response);
}

export const listSessions = (cursor?: string | null, archived = false) => {
  const query = [archived && "archived=true", cursor && `cursor=${id(cursor)}`].filter(Boolean).join("&");
  return request<{ sessions: Session[]; pinned?: Session[]; next_cursor: string | null }>("GET", `/sessions${query && `?${query}`}`);
};
export const renameSession = (sessionId: string, title: string) =>
  request<Session>("PATCH", `/sessions/${id(sessionId)}`, { body: { title } });
export const pinSession = (sessionId: string, pinned: boolean) =>
  request<Session>("PATCH", `/sessions/${id(sessionId)}`, { body: { pinned } });
export const archiveSession = (sessionId: string, archived: boolean) =>
  request<Session>("PATCH", `/sessions/${id(sessionId)}`, { body: { archived }, keepalive: true });
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
export const readInstructions = () => request<{ text: string; max_chars: number }>("GET", "/me/instructions");
export const writeInstructions = (text: string) => request<{ text: string }>("PUT", "/me/instructions", { body: { text } });
/** Without a name: all that is known. */
export const forgetFact = (name?: string) =>
  request<void>("DELETE", `/me/understanding${name === undefined ? "" : `?fact=${id(name)}`}`);

export function getSession(sessionId: string, { before, signal }: { before?: number; signal: AbortSignal }) {
  const query = before === undefined ? "" : `?before_sequence=${before}`;
  return request<SessionDetail>("GET", `/sessions/${id(sessionId)}${query}`, { signal });
}

/** What a message is sent with, on every route that takes one. */
export interface MessageOptions {
  over_budget?: true;
  model?: string;
  /** Of the first of a conversation that is to be kept for a short time only. */
  temporary?: true;
}

/** What a message does to the answer that is being written, where it is not to wait: end it, or enter at its next step. */
export type Policy = "interrupt" | "steer";

/** Safe to send again: the message's id is the key under which a repeat is recognised. */
export const postMessage = (sessionId: string, messageId: string, message: string, policy: Policy | undefined, more: MessageOptions & { files?: { url: string }[] } = {}) =>
  request<{ position: number }>("POST", `/sessions/${id(sessionId)}/messages`, { body: { id: messageId, message, ...(policy && { policy }), ...more } });

/** Of one that waits for its answer. 409: that has begun. */
export const takeMessageBack = (sessionId: string, messageId: string) => request<void>("DELETE", `/sessions/${id(sessionId)}/messages/${id(messageId)}`);
/** Whichever turn of it runs now. */
export const stopSession = (sessionId: string) => request<unknown>("POST", `/${id(sessionId)}/stop`);

/** What the server can be asked for. */
export interface ServiceConfig {
  /** The models that a message may ask for; none: there is nothing to choose. */
  models: string[];
  /** The one that answers where none is named, where that is known. */
  default_model?: string | null;
  /** Who callers are: "jwt": people who sign in. */
  auth: string;
  /** Where people sign in; nothing: they do not, or elsewhere. */
  sign_in_url?: string | null;
  /** Whether a conversation can be shared by a link. */
  share_links?: boolean;
  /** What may be offered to ask where nothing was asked yet. */
  suggestions?: string[];
  file_types: string[];
  limits: { max_files_per_message: number; max_file_bytes: number; max_queued_per_session: number };
}

let config: Promise<ServiceConfig> | null = null;

/** Read once a visit; where that failed, with the next call again. */
export function serviceConfig(): Promise<ServiceConfig> {
  config ??= request<ServiceConfig>("GET", "/config").catch((error: unknown) => {
    config = null;
    throw error;
  });
  return config;
}

export interface FileLimits {
  types: string[];
  most: number;
  mostBytes: number;
}

export async function fileLimits(): Promise<FileLimits> {
  const { file_types, limits } = await serviceConfig();
  return { types: file_types, most: limits.max_files_per_message, mostBytes: limits.max_file_bytes };
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
    const { limits } = await serviceConfig();
    return new Problem(problem.message, { ...problem, limit: limits.max_queued_per_session });
  } catch {
    return problem;
  }
}

const feedbackPath = (sessionId: string, messageId: string) => `/sessions/${id(sessionId)}/messages/${id(messageId)}/feedback`;
/** Null: what was said of it is taken back. */
export const giveFeedback = (sessionId: string, messageId: string, feedback: Feedback | null) =>
  request<void>(feedback ? "PUT" : "DELETE", feedbackPath(sessionId, messageId), feedback ? { body: feedback } : {});

export interface Share {
  token: string;
  path: string;
  shared_at: string;
}

const sharePath = (sessionId: string) => `/sessions/${id(sessionId)}/share`;
export const readShare = (sessionId: string) => request<Share>("GET", sharePath(sessionId));
/** The same link again, where there is one, to what was said by now. */
export const shareSession = (sessionId: string) => request<Share>("PUT", sharePath(sessionId));
export const revokeShare = (sessionId: string) => request<void>("DELETE", sharePath(sessionId));

export interface SharedPage {
  title: string | null;
  shared_at: string;
  messages: Omit<StoredMessage, "id" | "metadata">[];
  has_more: boolean;
}

export const readShared = (token: string, before?: number) =>
  request<SharedPage>("GET", `/shared/${id(token)}${before === undefined ? "" : `?before_sequence=${before}`}`);

interface Persistence {
  signal?: AbortSignal;
  onWait: (problem: Problem) => void;
  tries?: number;
  /** That no answer comes counts no try. */
  patient?: boolean;
}

/** Call `action` until it succeeds or fails for good. A machine without a network is waited for, and counts no try. */
export async function persist<T>(action: () => Promise<T>, { signal, onWait, tries = Infinity, patient = false }: Persistence): Promise<T> {
  for (let attempt = 0, refusals = 0; ; attempt += 1) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof Problem) || !error.passing) throw error;
      if (isOffline()) attempt = -1;
      else if (!patient || error.status > 0) refusals += 1;
      if (refusals >= tries) throw error;
      onWait(error);
      await untilOnline(signal);
      await sleep(error.retryAfterMs + backoffMs(Math.max(attempt, 0)), signal);
    }
  }
}
