import { headers } from "next/headers";
import Chat from "./chat";

const GATEWAY = process.env.GATEWAY ?? "http://127.0.0.1:8000";

// What was said before comes with the page, as its reader may see it. A running answer goes on behind it.
export default async function Page({ params }) {
  const { id } = await params;
  const cookie = (await headers()).get("cookie") ?? "";
  const answer = await fetch(`${GATEWAY}/api/chat/sessions/${id}`, { cache: "no-store", headers: { cookie } });
  const { messages } = answer.ok ? await answer.json() : { messages: [] };
  return <Chat id={id} said={messages} />;
}
