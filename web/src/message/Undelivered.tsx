import { useEffect } from "react";
import { useConversation } from "../conversation/context.ts";
import type { Pending } from "../conversation/pending.ts";
import { announce } from "../ui/announced.ts";
import { focusBox } from "../ui/focused.ts";
import { BusyButton } from "../ui/BusyButton.tsx";
import { useWords } from "../words/words.ts";

/** What is said of a message that is not among the answered ones, and what can be done with it. */
export function Undelivered({ pending }: { pending: Pending }) {
  const words = useWords();
  const refused = pending.state === "refused";
  const notice = pending.notice?.(words) ?? "";
  useEffect(() => {
    if (notice) announce(notice);
  }, [notice]);
  return (
    <p className={`notice ${refused ? "failure" : "note"}`}>
      {notice}
      {refused && <Refused pending={pending} />}
      {pending.state === "queued" && <Queued id={pending.id} />}
    </p>
  );
}

function Refused({ pending }: { pending: Pending }) {
  const words = useWords();
  const conversation = useConversation();
  return (
    <>
      <button type="button" className="quiet" onClick={() => (focusBox(), conversation.pending.sendAgain(pending.id))}>
        {pending.overBudget ? words.goOn : words.retry}
      </button>
      <button type="button" className="quiet" onClick={() => conversation.pending.takeBack(pending.id)}>
        {words.change}
      </button>
    </>
  );
}

function Queued({ id }: { id: string }) {
  const words = useWords();
  const conversation = useConversation();
  return (
    <>
      <BusyButton className="quiet" onClick={() => conversation.pending.withdraw(id, true)}>
        {words.change}
      </BusyButton>
      <BusyButton className="quiet" onClick={() => (focusBox(), conversation.pending.withdraw(id, false))}>
        {words.takeBack}
      </BusyButton>
    </>
  );
}
