import { type FormEvent, useCallback, useEffect, useState } from "react";
import * as api from "./api.ts";
import { type Column, Table } from "./Table.tsx";

const PERIOD_MS = 2000;

/** What an operator asks at night: what is behind, which turns do not end and why, what was given up, what is unfit. */
export function Operations() {
  const [seen, setSeen] = useState<api.Overview | null>(null);
  const [refused, setRefused] = useState<api.Refused | null>(null);
  const [failed, setFailed] = useState("");
  const [asked, setAsked] = useState<string | null>(null);

  const look = useCallback(async () => {
    try {
      setSeen(await api.overview());
      setRefused(null);
    } catch (error) {
      if (!(error instanceof api.Refused)) throw error;
      setRefused(error);
    }
  }, []);
  useEffect(() => {
    void look();
    const timer = setInterval(() => document.hidden || void look(), PERIOD_MS);
    return () => clearInterval(timer);
  }, [look]);

  const act = async (doing: Promise<unknown>) => {
    setFailed("");
    try {
      await doing;
      await look();
    } catch (error) {
      if (!(error instanceof api.Refused)) throw error;
      setFailed(error.message);
    }
  };
  if (refused && [401, 403].includes(refused.status) && !seen) return <KeyForm refused={refused} onKey={look} />;
  return (
    <main className="ops">
      <h1>Operations</h1>
      {(failed || refused) && <p role="alert" className="ops-refused">{failed || refused?.message}</p>}
      {seen && (
        <>
          <p className="ops-sentence">{seen.sentence}</p>
          {asked && <Explained key={asked} taskId={asked} onAct={act} onClose={() => setAsked(null)} />}
          <Table name="Turns that have not ended" columns={turnColumns(setAsked)} rows={seen.turns} id={(one) => one.task_id} />
          <Table name="Queues" columns={QUEUES} rows={seen.queues} id={(one) => one.kind} />
          <Table name="Dead letters" columns={letterColumns(act, setAsked)} rows={seen.letters} id={(one) => one.id} />
          <Table name="Thumbs of the last 30 days" columns={SUMS} rows={seen.sums} id={(one) => one.model ?? ""} />
          <Table name="Bad answers" columns={feedbackColumns(setAsked)} rows={seen.feedback} id={(one) => `${one.session_id} ${one.message_id}`} />
          <Table name="Fitness" columns={FINDINGS} rows={seen.findings} id={(one) => one.name} />
        </>
      )}
    </main>
  );
}

function KeyForm({ refused, onKey }: { refused: api.Refused; onKey: () => Promise<void> }) {
  const [key, setKey] = useState("");
  const keep = (event: FormEvent) => {
    event.preventDefault();
    api.keepKey(key.trim());
    void onKey();
  };
  return (
    <main className="ops">
      <h1>Operations</h1>
      <p>{api.readKey() ? refused.message : "For operators: sign in as one, or give an API key with the scope ops:look."}</p>
      <form onSubmit={keep}>
        <label>
          API key <input type="text" autoComplete="off" value={key} onChange={(event) => setKey(event.target.value)} />
        </label>{" "}
        <button className="button primary">Look</button>
      </form>
    </main>
  );
}

/** One turn's sentence and evidence, asked again as long as it is open. */
function Explained(props: { taskId: string; onAct: (doing: Promise<unknown>) => Promise<void>; onClose: () => void }) {
  const { taskId } = props;
  const [told, setTold] = useState<api.Explanation | null>(null);
  const [refused, setRefused] = useState("");
  useEffect(() => {
    const ask = () =>
      api.explain(taskId).then(
        (explanation) => {
          setTold(explanation);
          setRefused("");
        },
        (error: Error) => setRefused(error.message),
      );
    void ask();
    const timer = setInterval(ask, PERIOD_MS);
    return () => clearInterval(timer);
  }, [taskId]);
  return (
    <section className="ops-explained" aria-label={`Turn ${taskId}`}>
      <h2>{taskId}</h2>
      {refused && <p role="alert" className="ops-refused">{refused}</p>}
      <p className="ops-sentence">{told?.sentence ?? "…"}</p>
      <ul>{told?.evidence.map((line) => <li key={line}>{line}</li>)}</ul>
      <button className="button" onClick={() => void props.onAct(api.cancel(taskId))}>Cancel the turn</button>{" "}
      <button className="button" onClick={() => void props.onAct(api.requeue(taskId))}>Queue it again</button>{" "}
      <button className="button" onClick={props.onClose}>Close</button>
    </section>
  );
}

const seconds = (value: number | null): string =>
  value === null ? "–" : value < 120 ? `${value.toFixed(1)} s` : `${Math.round(value / 60)} min`;

function turnColumns(onAsk: (taskId: string) => void): Column<api.LiveTurn>[] {
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

function letterColumns(act: (doing: Promise<unknown>) => Promise<void>, onAsk: (taskId: string) => void): Column<api.DeadLetter>[] {
  return [
    { title: "Number", value: (one) => Number(one.id) },
    { title: "Queue", value: (one) => one.queue },
    { title: "Since", value: (one) => one.created_at },
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
          <button className="button" onClick={() => void act(api.replay(one.id))}>Replay</button>{" "}
          <button className="button" onClick={() => void act(api.remove(one.id))}>Forget</button>
        </>
      ),
    },
  ];
}

function feedbackColumns(onAsk: (taskId: string) => void): Column<api.Feedback>[] {
  return [
    { title: "When", value: (one) => one.given_at },
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

const SUMS: Column<api.FeedbackSum>[] = [
  { title: "Model", value: (one) => one.model ?? "" },
  { title: "Good", value: (one) => one.up },
  { title: "Bad", value: (one) => one.down },
];

const QUEUES: Column<api.Queue>[] = [
  { title: "Queue", value: (one) => one.kind },
  { title: "Waiting", value: (one) => one.waiting },
  { title: "In lanes", value: (one) => one.in_lanes ?? 0 },
  { title: "Oldest", value: (one) => one.waiting_seconds ?? -1, show: (one) => seconds(one.waiting_seconds) },
  { title: "In flight", value: (one) => one.in_flight },
  { title: "Dead", value: (one) => one.dead_letters },
  { title: "Workers", value: (one) => one.consumers.map((who) => `${who.name} (${who.in_flight})`).join(", ") },
];

const FINDINGS: Column<api.Finding>[] = [
  { title: "What", value: (one) => one.name },
  { title: "Fit", value: (one) => (one.ok ? "yes" : "no") },
  { title: "Found", value: (one) => one.detail },
];
