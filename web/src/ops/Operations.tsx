import { type FormEvent, useCallback, useEffect, useRef, useState } from "react";
import * as api from "./api.ts";
import { feedbackColumns, FINDINGS, letterColumns, operationColumns, PROCESSES, QUEUES, SUMS, turnColumns, usageColumns } from "./columns.tsx";
import { Panel } from "./Panel.tsx";
import { Table } from "./Table.tsx";
import { takesOver } from "../ui/focused.ts";

const PERIOD_MS = 2000;
const DOUBLE_CLICK_MS = 700;

/** What an operator asks at night: what is behind, which turns do not end and why, what was given up, what is unfit. */
export function Operations() {
  const [seen, setSeen] = useState<api.Overview | null>(null);
  const [probes, setProbes] = useState<api.Finding[]>([]);
  const looks = useRef(false);
  // Who asks is nobody that may look: he is not asked about again until he gives a key.
  const shut = useRef(false);
  const [refused, setRefused] = useState<api.Refused | null>(null);
  const [failed, setFailed] = useState("");
  const [done, setDone] = useState("");
  const [asked, setAsked] = useState<string | null>(null);
  const [letter, setLetter] = useState<string | null>(null);

  // What is away makes the rest wait for it: it is told at once, and asked about one by one.
  const look = useCallback(async () => {
    if (looks.current) return;
    looks.current = true;
    try {
      const told = api.readiness().then(setProbes);
      setSeen(await api.overview());
      await told;
      setRefused(null);
    } catch (error) {
      if (!(error instanceof api.Refused)) throw error;
      shut.current = [401, 403].includes(error.status);
      setRefused(error);
    } finally {
      looks.current = false;
    }
  }, []);
  useEffect(() => {
    void look();
    const timer = setInterval(() => document.hidden || shut.current || void look(), PERIOD_MS);
    return () => clearInterval(timer);
  }, [look]);

  const act = async (doing: Promise<unknown>, said: string) => {
    setFailed("");
    setDone("");
    try {
      await doing;
      setDone(said);
      await look();
    } catch (error) {
      if (!(error instanceof api.Refused)) throw error;
      setFailed(error.message);
    }
  };
  const retry = async () => {
    shut.current = false;
    setRefused(null);
    await look();
  };
  if (refused && shut.current) return <KeyForm refused={refused} onKey={retry} />;
  const findings = [...probes, ...(seen?.findings ?? [])];
  return (
    <main className="ops">
      <h1>Operations</h1>
      {(failed || refused) && <p role="alert" className="ops-refused">{failed || refused?.message}</p>}
      <p role="status" className="soft">{done}</p>
      <Unfit findings={findings} />
      {!seen && !refused && <p className="soft">Asking …</p>}
      {seen && (
        <>
          <p className="ops-sentence">{seen.sentence}</p>
          <TurnForm onAsk={setAsked} />
          {asked && <Explained key={asked} taskId={asked} onAct={act} onClose={() => setAsked(null)} />}
          <Table unknown={seen.unknown.has("turns")} name="Turns that have not ended" columns={turnColumns(setAsked)} rows={seen.turns} id={(one) => one.task_id} />
          <Table unknown={seen.unknown.has("queues")} name="Queues" columns={QUEUES} rows={seen.queues} id={(one) => one.kind} />
          <Table unknown={seen.unknown.has("processes")} name="Processes" columns={PROCESSES} rows={seen.processes} id={(one) => `${one.component} ${one.name}`} />
          <Table unknown={seen.unknown.has("operations")} name="Tool calls that have not ended" columns={operationColumns(setAsked)} rows={seen.operations} id={(one) => one.operation_id} />
          {letter && <Letter key={letter} letterId={letter} onClose={() => setLetter(null)} />}
          <Table unknown={seen.unknown.has("dead-letters")} name="Dead letters" columns={letterColumns(act, setAsked, setLetter)} rows={seen.letters} id={(one) => one.id} />
          <Table unknown={seen.unknown.has("top")} name="Users of the last 15 minutes" columns={usageColumns("User")} rows={seen.users} id={(one) => one.name ?? ""} />
          <Table unknown={seen.unknown.has("top")} name="Sessions of the last 15 minutes" columns={usageColumns("Session")} rows={seen.sessions} id={(one) => one.name ?? ""} />
          <Table unknown={seen.unknown.has("feedback")} name="Thumbs of the last 30 days" columns={SUMS} rows={seen.sums} id={(one) => one.model ?? ""} />
          <Table unknown={seen.unknown.has("feedback")} name="Bad answers" columns={feedbackColumns(setAsked)} rows={seen.feedback} id={(one) => `${one.session_id} ${one.message_id}`} />
          <Table name="Fitness" columns={FINDINGS} rows={findings} id={(one) => one.name} />
        </>
      )}
    </main>
  );
}

/** What is wrong, in sentences, above everything that is as it should be. */
function Unfit({ findings }: { findings: api.Finding[] }) {
  const unfit = findings.filter((one) => !one.ok);
  if (unfit.length === 0) return null;
  return (
    <section className="ops-unfit" aria-label="Not fit">
      <h2>Not fit</h2>
      <ul>{unfit.map((one) => <li key={one.name}><b>{one.name}</b>: {one.detail}</li>)}</ul>
    </section>
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
      <p role={api.readKey() ? "alert" : undefined}>{api.readKey() ? refused.message : "For operators: sign in as one, or give an API key with the scope ops:look."}</p>
      <form onSubmit={keep}>
        <label>
          API key <input ref={takesOver} type="password" autoComplete="off" value={key} onChange={(event) => setKey(event.target.value)} />
        </label>
        <button className="button primary">Look</button>
      </form>
    </main>
  );
}

/** For a turn that has ended, of which somebody has told the id: it stands in no list. */
function TurnForm({ onAsk }: { onAsk: (taskId: string) => void }) {
  const [taskId, setTaskId] = useState("");
  const ask = (event: FormEvent) => {
    event.preventDefault();
    if (taskId.trim()) onAsk(taskId.trim());
  };
  return (
    <form onSubmit={ask}>
      <label>
        Turn <input autoComplete="off" spellCheck={false} value={taskId} onChange={(event) => setTaskId(event.target.value)} />
      </label>
      <button className="button">Explain it</button>
    </form>
  );
}

/** One turn's sentence and evidence, asked again as long as it is open. Its buttons come where the turn's own was: whoever
 * clicks that twice may not cancel it by that. */
function Explained(props: { taskId: string; onAct: (doing: Promise<unknown>, said: string) => Promise<void>; onClose: () => void }) {
  const { taskId } = props;
  const [told, setTold] = useState<api.Explanation | null>(null);
  const [refused, setRefused] = useState("");
  const [meant, setMeant] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setMeant(true), DOUBLE_CLICK_MS);
    return () => clearTimeout(timer);
  }, []);
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
    <Panel name={`Turn ${taskId}`} onClose={props.onClose}>
      <h2>{taskId}</h2>
      {refused && <p role="alert" className="ops-refused">{refused}</p>}
      <p className="ops-sentence">{told?.sentence ?? "…"}</p>
      <ul>{told?.evidence.map((line) => <li key={line}>{line}</li>)}</ul>
      <button className="button" disabled={!meant} onClick={() => void props.onAct(api.cancel(taskId), `${taskId} is cancelled.`)}>Cancel the turn</button>{" "}
      <button className="button" disabled={!meant} onClick={() => void props.onAct(api.requeue(taskId), `${taskId} is queued again.`)}>Queue it again</button>{" "}
    </Panel>
  );
}

/** What a queue entry asked for that was given up. */
function Letter(props: { letterId: string; onClose: () => void }) {
  const { letterId } = props;
  const [told, setTold] = useState<api.Letter | null>(null);
  const [refused, setRefused] = useState("");
  useEffect(() => {
    api.letter(letterId).then(setTold, (error: Error) => setRefused(error.message));
  }, [letterId]);
  return (
    <Panel name={`Letter ${letterId}`} onClose={props.onClose}>
      <h2>Letter {letterId}</h2>
      {refused && <p role="alert" className="ops-refused">{refused}</p>}
      {told && (
        <>
          <p className="ops-sentence">{told.reason}</p>
          <ul>
            <li>Queue {told.queue}, entry {told.entry_id}, delivered {told.deliveries} times, since {told.created_at}</li>
            <li>{told.body}</li>
          </ul>
        </>
      )}
    </Panel>
  );
}
