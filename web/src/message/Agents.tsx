import { memo, useLayoutEffect, useRef } from "react";
import { useWords } from "../words/words.ts";
import type { AgentEvent } from "./parts.ts";

const NEAR_PX = 48;

/** What a team of agents thinks, does and says, as a list that grows. */
export function Agents({ events }: { events: AgentEvent[] }) {
  const words = useWords();
  const list = useRef<HTMLOListElement>(null);
  const following = useRef(true);
  useLayoutEffect(() => {
    if (following.current && list.current) list.current.scrollTop = list.current.scrollHeight;
  }, [events.length]);
  const onScroll = () => {
    const { scrollHeight, scrollTop, clientHeight } = list.current!;
    following.current = scrollHeight - scrollTop - clientHeight < NEAR_PX;
  };
  return (
    <section className="agents" aria-label={words.agents}>
      <h3>{words.agents}</h3>
      <ol ref={list} tabIndex={0} aria-label={words.whatAgentsDo} onScroll={onScroll}>
        {events.map((event, n) => (
          <Event key={event.sequence ?? `n${n}`} name={event.agent_name ?? ""} type={event.event_type ?? ""} said={written(event.content)} />
        ))}
      </ol>
    </section>
  );
}

const Event = memo(function Event({ name, type, said }: { name: string; type: string; said: string }) {
  const words = useWords();
  const does = Object.hasOwn(words.agentDoes, type) ? words.agentDoes[type] : type;
  return (
    <li data-event={type}>
      <p>
        <strong>{name || words.team}</strong> <span className="soft">{does}</span>
      </p>
      {said && (
        <div className="text" dir="auto">
          {said}
        </div>
      )}
    </li>
  );
});

const written = (content: unknown): string =>
  content === undefined || content === null ? "" : typeof content === "string" ? content : JSON.stringify(content, null, 2);
