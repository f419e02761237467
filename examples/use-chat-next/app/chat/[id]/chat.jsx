"use client";
import { useChat } from "@ai-sdk/react";
import { useState } from "react";

export default function Chat({ id, said }) {
  const [text, setText] = useState("");
  const { messages, sendMessage, status, error } = useChat({ id, messages: said, resume: true });
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
