// What reads events without the AI SDK: every event has data, and the data are whole.

import { fetchEventSource } from "@microsoft/fetch-event-source";
import { EventSource as NpmEventSource } from "eventsource";
import { Server } from "./server.mjs";

function byEventSource(Source) {
  return (url) =>
    new Promise((resolve, reject) => {
      const events = [];
      const source = new Source(url);
      source.onerror = () => reject(new Error(`the connection broke behind ${events.length} events`));
      source.onmessage = ({ data }) => {
        events.push(data);
        if (data !== "[DONE]") return;
        source.close();
        resolve(events);
      };
    });
}

async function byFetchEventSource(url) {
  const events = [];
  const onerror = (error) => {
    throw error;
  };
  // Of the document of happy-dom it would take another fetch.
  const fetch = (...asked) => globalThis.fetch(...asked);
  await fetchEventSource(url, { fetch, openWhenHidden: true, onmessage: ({ data }) => void events.push(data), onerror });
  return events;
}

const native = globalThis.EventSource;
const READERS = {
  ...(native ? { "EventSource of the browser": byEventSource(native) } : { "eventsource of npm": byEventSource(NpmEventSource) }),
  "@microsoft/fetch-event-source": byFetchEventSource,
};

/** By name, the data of every event of a turn that pauses in the middle for longer than a heartbeat takes. */
export async function runReaders({ bases: [base], run }) {
  const server = new Server(base);
  const text = `${run} reads [[tokens=6 rate=0 stall_after=3 stall_for=1.5]]`;
  const read = async ([name, reader]) => {
    const id = `${run}-${name.replaceAll(/[^a-z]+/gi, "-")}`;
    await server.post("/api/chat/sessions", { id });
    const { stream_url: url } = await (await server.post(`/api/chat/sessions/${id}/messages`, { message: text })).json();
    return [name, await reader(base + url).catch((error) => [`failed: ${error.message}`])];
  };
  return Object.fromEntries(await Promise.all(Object.entries(READERS).map(read)));
}
