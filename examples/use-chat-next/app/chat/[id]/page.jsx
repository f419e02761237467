"use client";
import { useChat } from "@ai-sdk/react";
import { useParams } from "next/navigation";
import { useEffect, useState } from "react";

// What was said before is read first: a running answer goes on behind it.
export default function Page() {
  const { id } = useParams();
  const [history, setHistory] = useState();
  useEffect(() => {
    const read = async (found) => setHistory(found.ok ? (await found.json()).messages : []);
    fetch(`/api/chat/sessions/${id}`).then(read);
  }, [id]);
  return history && <Chat key={id} id={id} history={history} />;
}

function Chat({ id, history }) {
  const [text, setText] = useState("");
  const { messages, sendMessage, status, error } = useChat({ id, messages: history, resume: true });
  const send = (event) => (event.preventDefault(), sendMessage({ text }), setText(""));
  // Aborting the fetch ends nothing: the answer goes on without this page. This ends it.
  const stop = () => fetch(`/api/chat/${id}/stop`, { method: "POST" });
  return (
    <form onSubmit={send}>
      {messages.map((m) => <p key={m.id}>{m.role}: {m.parts.map((part) => part.text ?? "")}</p>)}
      {error && <p role="alert">{error.message}</p>}
      <input value={text} onChange={(event) => setText(event.target.value)} aria-label="Message" />
      {status === "streaming" && <button type="button" onClick={stop}>Stop</button>}
    </form>
  );
}
