import { useChat } from "@ai-sdk/react";
import React, { useState } from "react";
import { createRoot } from "react-dom/client";

// The id names the conversation: with the same one after a reload, the running answer goes on.
const id = (location.hash ||= `#${Date.now()}`).slice(1);
const found = await fetch(`/api/chat/sessions/${id}`);
const history = found.ok ? (await found.json()).messages : [];

function Chat() {
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

createRoot(document.getElementById("root")).render(<Chat />);
