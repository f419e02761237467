// The columns of the tables for operators.
import * as api from "./api.ts";
import { type Column } from "./Table.tsx";

const seconds = (value: number | null): string =>
  value === null ? "–" : value < 120 ? `${value.toFixed(1)} s` : `${Math.round(value / 60)} min`;

const time = (told: string): string => new Date(told).toLocaleString("en", { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

export function turnColumns(onAsk: (taskId: string) => void): Column<api.LiveTurn>[] {
  return [
    {
      title: "Turn",
      value: (one) => one.task_id,
      show: (one) => <button className="button" onClick={() => onAsk(one.task_id)}>{one.task_id}</button>,
    },
    { title: "Status", value: (one) => one.status },
    { title: "Phase", value: (one) => one.phase },
    { title: "Age", value: (one) => one.age_seconds, show: (one) => seconds(one.age_seconds) },
    { title: "Attempt", value: (one) => one.attempt },
    { title: "Holder", value: (one) => one.holder ?? "" },
    { title: "Silent", value: (one) => one.holder_idle_seconds ?? -1, show: (one) => seconds(one.holder_idle_seconds) },
    { title: "User", value: (one) => one.user_id ?? "" },
    { title: "Events", value: (one) => one.shown },
  ];
}

export function operationColumns(onAsk: (taskId: string) => void): Column<api.OpenOperation>[] {
  return [
    { title: "Tool", value: (one) => one.tool_name },
    { title: "Waits for", value: (one) => one.waits_for },
    { title: "Runner", value: (one) => one.runner ?? "" },
    { title: "Silent", value: (one) => one.runner_idle_seconds ?? -1, show: (one) => seconds(one.runner_idle_seconds ?? null) },
    { title: "Age", value: (one) => one.age_seconds, show: (one) => seconds(one.age_seconds) },
    { title: "Fails in", value: (one) => one.deadline_seconds, show: (one) => seconds(one.deadline_seconds) },
    {
      title: "Its turn",
      value: (one) => one.task_id,
      show: (one) => <button className="button" onClick={() => onAsk(one.task_id)}>{one.task_id}</button>,
    },
  ];
}

export function usageColumns(who: string): Column<api.Use>[] {
  return [
    { title: who, value: (one) => one.name ?? "(nobody)" },
    { title: "Turns", value: (one) => one.turns },
    { title: "Live", value: (one) => one.live },
    { title: "Tokens", value: (one) => one.tokens },
    { title: "Cost", value: (one) => one.cost, show: cost },
  ];
}

/** What is unknown is no zero. */
function cost({ cost, unpriced }: api.Use): string {
  if (!cost && unpriced) return "no price is known";
  return `$${cost.toFixed(4)}${unpriced ? `, without ${unpriced} calls` : ""}`;
}

export function letterColumns(
  act: (doing: Promise<unknown>, said: string) => Promise<void>,
  onAsk: (taskId: string) => void,
  onShow: (letterId: string) => void,
): Column<api.DeadLetter>[] {
  return [
    {
      title: "Number",
      value: (one) => Number(one.id),
      show: (one) => <button className="button" onClick={() => onShow(one.id)}>Letter {one.id}</button>,
    },
    { title: "Queue", value: (one) => one.queue },
    { title: "Since", value: (one) => one.created_at, show: (one) => time(one.created_at) },
    { title: "Reason", value: (one) => one.reason },
    {
      title: "Its turn",
      value: (one) => one.task_id ?? "",
      show: (one) => one.task_id && <button className="button" onClick={() => onAsk(one.task_id!)}>{one.task_id}</button>,
    },
    {
      title: "Do",
      value: () => "",
      show: (one) => (
        <>
          <button className="button" aria-label={`Replay number ${one.id}`} onClick={() => void act(api.replay(one.id), `Letter ${one.id} is replayed.`)}>Replay</button>{" "}
          <button className="button" aria-label={`Forget number ${one.id}`} onClick={() => void act(api.remove(one.id), `Letter ${one.id} is forgotten.`)}>Forget</button>
        </>
      ),
    },
  ];
}

export function feedbackColumns(onAsk: (taskId: string) => void): Column<api.Feedback>[] {
  return [
    { title: "When", value: (one) => one.given_at, show: (one) => time(one.given_at) },
    { title: "Comment", value: (one) => one.comment },
    { title: "Model", value: (one) => one.model ?? "" },
    {
      title: "Its turn",
      value: (one) => one.task_id ?? "",
      show: (one) => one.task_id && <button className="button" onClick={() => onAsk(one.task_id!)}>{one.task_id}</button>,
    },
    { title: "User", value: (one) => one.user_id ?? "" },
  ];
}

export const SUMS: Column<api.FeedbackSum>[] = [
  { title: "Model", value: (one) => one.model ?? "" },
  { title: "Good", value: (one) => one.up },
  { title: "Bad", value: (one) => one.down },
];

export const QUEUES: Column<api.Queue>[] = [
  { title: "Queue", value: (one) => one.kind },
  { title: "Waiting", value: (one) => one.waiting },
  { title: "In lanes", value: (one) => one.in_lanes ?? 0 },
  { title: "Oldest", value: (one) => one.waiting_seconds ?? -1, show: (one) => seconds(one.waiting_seconds) },
  { title: "In flight", value: (one) => one.in_flight },
  { title: "Dead", value: (one) => one.dead_letters },
  { title: "Workers", value: (one) => one.consumers.map((who) => `${who.name} (${who.in_flight})`).join(", ") },
];

export const PROCESSES: Column<api.Process>[] = [
  { title: "Service", value: (one) => one.component },
  { title: "Name", value: (one) => one.name },
  { title: "Version", value: (one) => one.version },
  { title: "State", value: (one) => one.lacks || "ready" },
];

export const FINDINGS: Column<api.Finding>[] = [
  { title: "What", value: (one) => one.name },
  { title: "Fit", value: (one) => (one.ok ? "yes" : "no") },
  { title: "Found", value: (one) => one.detail },
];
