import { redirect } from "next/navigation";

// The id names the conversation: with the same one after a reload, the running answer goes on.
export default function Page() {
  redirect(`/chat/${crypto.randomUUID()}`);
}

export const dynamic = "force-dynamic";
